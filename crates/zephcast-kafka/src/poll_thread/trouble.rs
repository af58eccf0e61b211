//! What goes wrong while a member lives, and what it means for it.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use zephcast_core::{Error, ErrorKind};

use super::{Ended, Poller};
use crate::error::{error, missing, translate};
use crate::reading::Failure;

const OPERATION: &str = "fetch";
/// How long a look for the brokers takes at most, and how often there is one while they are away.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
const PROBE_EVERY: Duration = Duration::from_millis(300);
/// After so long without a word from them they are looked for: one that froze ends no connection.
const QUIET: Duration = Duration::from_secs(5);

/// Whether the brokers are to be looked for.
pub(super) struct Probe {
    wanted: bool,
    /// Whether it is not known whether the stream is still there.
    stream_wanted: bool,
    last: Instant,
    /// When a broker was last heard of.
    heard: Instant,
}

impl Probe {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { wanted: false, stream_wanted: false, last: now, heard: now }
    }

    /// A broker answered.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
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
            Code::FencedInstanceId | Code::UnreleasedInstanceId => {
                let name = &self.member.name;
                self.fail(error(
                    ErrorKind::Conflict,
                    OPERATION,
                    format!("another member joined under the name {name:?}: {text}"),
                ));
                None
            }
            _ => {
                tracing::warn!(?code, text, stream = %self.member.topics.stream, "the consumer broke and is made anew");
                Some(Ended::Broken)
            }
        }
    }

    /// What went wrong in a partition.
    pub(super) fn take_failure(&mut self, failure: &Failure) {
        if let Some(unit) = failure.unit
            && let Some(partition) = self.member.assignment().partition(unit)
        {
            partition.mislead();
        }
        self.take_code(failure.code, &failure.text);
    }

    fn take_code(&mut self, code: Code, text: &str) {
        match code {
            Code::AllBrokersDown => self.probe.wanted = true,
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => self.look_for_stream(),
            Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                self.fail(translate(OPERATION, KafkaError::MessageConsumption(code)));
            }
            Code::InconsistentGroupProtocol | Code::FencedInstanceId => {
                let group = &self.member.topics.group;
                let text = format!("the group {group:?} is used in another way by other members: {text}");
                self.fail(error(ErrorKind::Conflict, OPERATION, text));
            }
            Code::UnsupportedVersion | Code::UnsupportedFeature => {
                self.fail(error(ErrorKind::Unsupported, OPERATION, format!("the broker is too old for this: {text}")));
            }
            _ => tracing::debug!(?code, text, stream = %self.member.topics.stream, "the client library goes on"),
        }
    }

    pub(super) fn fail(&self, error: Error) {
        self.member.assignment().fail(error);
        self.member.arrived.notify_one();
    }

    /// Retry topics may go; without the stream there is nothing to do.
    fn look_for_stream(&mut self) {
        let stream = &self.member.topics.stream;
        let Ok(metadata) = self.consumer.fetch_metadata(Some(stream), PROBE_PATIENCE) else {
            self.probe.stream_wanted = true;
            return;
        };
        self.probe.stream_wanted = false;
        let is_there = metadata.topics().iter().any(|topic| topic.name() == stream && topic.error().is_none());
        if !is_there {
            self.fail(missing(OPERATION, stream));
        }
    }

    /// Looks whether the brokers are there, when they seemed to be away.
    pub(super) fn probe(&mut self) {
        let away = self.member.assignment().is_away();
        let is_due = away && self.probe.last.elapsed() > PROBE_EVERY;
        if self.probe.stream_wanted && self.probe.last.elapsed() > PROBE_EVERY {
            self.look_for_stream();
        }
        if is_due || self.probe.wanted || self.probe.heard.elapsed() > QUIET {
            self.look_for_brokers();
        }
    }

    fn look_for_brokers(&mut self) {
        let looked = self.consumer.fetch_metadata(Some(&self.member.topics.stream), PROBE_PATIENCE);
        self.probe = Probe { stream_wanted: self.probe.stream_wanted, ..Probe::new() };
        match looked {
            Ok(_) => {
                if self.member.assignment().is_back() {
                    self.member.cluster.trouble().is_over();
                }
            }
            Err(failure) => {
                let error = error(ErrorKind::Unavailable, OPERATION, "no broker answers").caused_by(failure);
                let error = self.member.cluster.trouble().explain_to_member(error);
                self.member.assignment().away(error);
            }
        }
        self.member.arrived.notify_one();
    }
}
