//! What goes wrong while a member lives, and what it means for it.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use zephcast_core::{Error, ErrorKind};

use super::{Ended, Poller};
use crate::error::{error, missing, translate};
use crate::rebalance::is_there;

const OPERATION: &str = "fetch";
/// How long a look takes at most, and how long it is until the next one where that is needed.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// After so long without a word from the brokers they are looked for: one that froze ends no connection.
const QUIET: Duration = Duration::from_secs(5);
/// After so many looks in vain they are away: one may have gone to the only one that is.
const VAIN: u32 = 2;

/// What is to be looked for.
pub(super) struct Looks {
    /// The brokers: the library says that all of them are away.
    brokers: bool,
    /// The stream: it may be gone, and nobody could say.
    stream: bool,
    last: Instant,
    /// How many looks for the brokers in a row were in vain.
    vain: u32,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self { brokers: false, stream: false, last: Instant::now(), vain: 0 }
    }
}

impl Poller {
    /// An error of the consumer as a whole.
    pub(super) fn take_error(&mut self, failure: &KafkaError) -> Option<Ended> {
        if let Some((code, text)) = self.consumer.client().fatal_error() {
            return self.take_fatal(code, &text);
        }
        let code = failure.rdkafka_error_code()?;
        self.take_code(code, &failure.to_string());
        None
    }

    /// After a fatal error the library answers nothing any more.
    fn take_fatal(&mut self, code: Code, text: &str) -> Option<Ended> {
        match code {
            Code::FencedInstanceId => {
                self.fail_replaced(text);
                None
            }
            Code::UnreleasedInstanceId => {
                let text = format!(
                    "the name {:?} is kept for the member that had it, until its session ends",
                    self.member.name
                );
                self.member.assignment().away(error(ErrorKind::Unavailable, OPERATION, text));
                self.member.arrived.notify_one();
                Some(Ended::Broken)
            }
            _ => {
                tracing::warn!(?code, text, stream = %self.member.topics.stream, "the consumer broke and is made anew");
                Some(Ended::Broken)
            }
        }
    }

    pub(super) fn take_code(&mut self, code: Code, text: &str) {
        match code {
            Code::AllBrokersDown => self.looks.brokers = true,
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => self.look_for_stream(),
            Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                self.fail(translate(OPERATION, KafkaError::MessageConsumption(code)));
            }
            Code::FencedInstanceId => self.fail_replaced(text),
            Code::InconsistentGroupProtocol => {
                let group = &self.member.topics.group;
                let text = format!(
                    "the group {group:?} is used by members of another protocol ({text}); choose theirs: \
                     `group-protocol=eager` is that of most plain clients; or another group"
                );
                self.fail(error(ErrorKind::Conflict, OPERATION, text));
            }
            Code::UnsupportedVersion | Code::UnsupportedFeature => {
                self.fail(error(ErrorKind::Unsupported, OPERATION, format!("the broker is too old for this: {text}")));
            }
            _ => tracing::debug!(?code, text, stream = %self.member.topics.stream, "the client library goes on"),
        }
    }

    fn fail_replaced(&self, text: &str) {
        let text = format!("another member joined under the name {:?}: {text}", self.member.name);
        self.fail(error(ErrorKind::Conflict, OPERATION, text));
    }

    pub(super) fn fail(&self, error: Error) {
        self.member.assignment().fail(error);
        self.member.arrived.notify_one();
    }

    /// Retry topics may go; without the stream there is nothing to do.
    fn look_for_stream(&mut self) {
        let stream = &self.member.topics.stream;
        let is_there = is_there(&self.consumer, stream, LOOK_PATIENCE);
        self.looks.last = Instant::now();
        self.looks.stream = is_there.is_none();
        if is_there == Some(false) {
            self.fail(missing(OPERATION, stream));
        }
    }

    /// Looks for the stream and the brokers, when they seemed to be away.
    pub(super) fn look_for_trouble(&mut self) {
        let is_due = self.looks.last.elapsed() > LOOK_AGAIN;
        if self.looks.stream && is_due {
            self.look_for_stream();
        }
        let is_wanted = {
            let assignment = self.member.assignment();
            assignment.is_away() || assignment.unanswered() > QUIET
        };
        if !is_wanted {
            self.looks.vain = 0;
        }
        if self.looks.brokers || is_wanted && is_due {
            self.look_for_brokers();
        }
    }

    fn look_for_brokers(&mut self) {
        let are_down = std::mem::take(&mut self.looks.brokers);
        let looked = self.consumer.fetch_metadata(Some(&self.member.topics.stream), LOOK_PATIENCE);
        self.looks.last = Instant::now();
        match looked {
            Ok(_) => {
                self.looks.vain = 0;
                if self.member.assignment().came_back() {
                    self.member.cluster.trouble().is_over();
                }
            }
            Err(failure) => {
                self.looks.vain += 1;
                if are_down || self.looks.vain >= VAIN {
                    let text = format!("none of {} answers", self.member.config.servers());
                    let error = error(ErrorKind::Unavailable, OPERATION, text).caused_by(failure);
                    let error = self.member.cluster.trouble().explain_to_member(error);
                    self.member.assignment().away(error);
                }
            }
        }
        self.member.arrived.notify_one();
    }
}
