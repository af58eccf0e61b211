//! Partitions that come and go: what the client library calls on the poll thread.
//!
//! While such a call of a running consumer waits, heartbeats go on; the limit is `max.poll.interval.ms`. So there is time
//! to ask where the group stands before a partition is read, and to let handlers finish before one is given up.

mod commits;
mod places;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::Statistics;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use zephcast_core::driver::{Fetched, Released};
use zephcast_core::{Error, ErrorKind, UnitId};

use crate::assignment::End;
use crate::member::Member;
use crate::native::{Batches, Commits};
use crate::nodes::Nodes;
use crate::partition::Partition;

const OPERATION: &str = "rebalance";
/// How much of the poll interval is left when waiting ends.
const RESERVE: Duration = Duration::from_secs(5);
/// How long it is tried to commit for the last time before a partition goes.
const LAST_WORD: Duration = Duration::from_secs(5);
/// How often a wait looks at what nobody tells it.
const LOOK: Duration = Duration::from_millis(50);

/// What the client library calls back, for one member.
pub(crate) struct MemberContext {
    pub(crate) member: Arc<Member>,
    common: crate::context::Context,
    nodes: Mutex<Nodes>,
    /// None before there is a consumer to make them of, and once it ends.
    queues: Mutex<Option<Queues>>,
}

/// Where what the library brings comes to, but for events.
struct Queues {
    batches: Batches,
    commits: Commits,
}

impl MemberContext {
    pub(crate) fn new(member: Arc<Member>) -> Self {
        let common = member.cluster.context();
        Self { member, common, nodes: Mutex::default(), queues: Mutex::new(None) }
    }

    /// Makes the queues, which wake this thread.
    pub(crate) fn open_queues(&self, consumer: &MemberConsumer) {
        let queues = Batches::new(consumer, thread::current()).zip(Commits::new(consumer, thread::current()));
        *self.queues() = queues.map(|(batches, commits)| Queues { batches, commits });
    }

    /// They have to go before their consumer.
    pub(crate) fn close_queues(&self) {
        drop(self.queues().take());
    }

    fn queues(&self) -> MutexGuard<'_, Option<Queues>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with_batches<T>(&self, work: impl FnOnce(&mut Batches) -> T) -> Option<T> {
        self.queues().as_mut().map(|queues| work(&mut queues.batches))
    }
}

type MemberConsumer = BaseConsumer<MemberContext>;

impl ClientContext for MemberContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = crate::context::Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.common.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.common.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let events = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).look(&statistics);
        if !events.is_empty() {
            let mut assignment = self.member.assignment();
            events.into_iter().for_each(|event| assignment.tell(Fetched::Event(event)));
            drop(assignment);
            self.member.arrived.notify_one();
        }
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> Result<rdkafka::client::OAuthToken, Box<dyn std::error::Error>> {
        self.common.generate_oauth_token(config)
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &MemberConsumer, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let done = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, partitions),
            code => {
                tracing::warn!(?code, stream = %self.member.topics.stream, "the rebalance failed");
                self.revoke(consumer, partitions)
            }
        };
        if let Err(error) = done {
            tracing::warn!(%error, stream = %self.member.topics.stream, "the rebalance could not be completed");
        }
    }
}

impl MemberContext {
    fn unit(&self, topic: &str, partition: i32) -> Option<UnitId> {
        self.member.topics.unit(topic, partition)
    }

    fn units(&self, partitions: &TopicPartitionList) -> Vec<UnitId> {
        partitions.elements().iter().filter_map(|element| self.unit(element.topic(), element.partition())).collect()
    }

    /// Partitions come: each is read from where the group stands.
    fn assign(&self, consumer: &MemberConsumer, partitions: &mut TopicPartitionList) -> KafkaResult<()> {
        let places = if partitions.count() == 0 { Some(Vec::new()) } else { self.places(consumer, partitions) };
        let Some(places) = places else {
            // Lost again before it was known where to begin, or this member is at its end. The library waits for an answer
            // all the same, for ever; nobody takes what comes of it.
            return take(consumer, partitions);
        };
        let mut taken = Vec::with_capacity(places.len());
        for mut element in partitions.elements() {
            let Some(unit) = self.unit(element.topic(), element.partition()) else { continue };
            let Some((_, place)) = places.iter().find(|(placed, _)| *placed == unit) else { continue };
            element.set_offset(Offset::Offset(place.next))?;
            self.with_batches(|batches| batches.take_in(element.topic(), element.partition()));
            taken.push((unit, place.clone()));
        }
        tracing::debug!(stream = %self.member.topics.stream, member = %self.member.name, ?taken, "partitions come");
        {
            let mut assignment = self.member.assignment();
            let new = taken
                .into_iter()
                .map(|(unit, place)| (unit, Partition::new(assignment.next_assignment(), !unit.is_helper(), place)));
            let new: Vec<_> = new.collect();
            assignment.assigned(new);
        }
        self.member.arrived.notify_one();
        self.member.look.notify_one();
        // The library pauses what was paused by a former assignment (`rd_kafka_toppar_pause_resume`, librdkafka 2.12.1).
        if let Err(error) = consumer.resume(partitions) {
            tracing::debug!(%error, "nothing is paused");
        }
        take(consumer, partitions)
    }

    /// Partitions go: running handlers are waited for and their results committed, unless they are gone already.
    fn revoke(&self, consumer: &MemberConsumer, partitions: &TopicPartitionList) -> KafkaResult<()> {
        let units = self.member.assignment().owned(self.units(partitions));
        let is_gone = consumer.assignment_lost() || matches!(self.member.assignment().end, End::Abandoned);
        if !units.is_empty() {
            let let_go = !is_gone && self.let_go(consumer, &units);
            if !let_go {
                self.member.assignment().lose(&units);
                self.member.arrived.notify_one();
            }
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            _ => consumer.unassign(),
        }
    }

    /// When waiting in a call of the library has to end, before the group goes on without this member.
    fn deadline(&self) -> Instant {
        let limit = self.member.config.max_poll_interval;
        Instant::now() + limit.saturating_sub(RESERVE).max(limit / 2)
    }

    /// Waits until the engine has let go of the units, and commits where they stand. `false` when they were lost meanwhile.
    fn let_go(&self, consumer: &MemberConsumer, units: &[UnitId]) -> bool {
        let member = &self.member;
        let mut released = member.assignment().revoke(units.to_vec());
        member.arrived.notify_one();
        let deadline = self.deadline();
        // An engine that leaves has settled everything, and has given back what it had.
        while matches!(member.assignment().end, End::Not) && !is_released(&mut released) {
            let silent = member.assignment().silence() > member.lease;
            // Of an engine whose member failed nobody is asked any more.
            let is_over = consumer.assignment_lost() || member.assignment().has_failed();
            if is_over || silent || Instant::now() > deadline {
                return false;
            }
            // The engine settles what it has to give up, and waits until that is durable.
            self.serve_commits();
            thread::park_timeout(LOOK);
        }
        // One that is gone has let go without a word.
        if matches!(member.assignment().end, End::Abandoned) {
            return false;
        }
        let until = deadline.min(Instant::now() + LAST_WORD);
        let mut given_up = self.give_up(consumer, units);
        while given_up.as_ref().is_err_and(Error::is_retryable) && Instant::now() < until && !consumer.assignment_lost()
        {
            thread::park_timeout(LOOK);
            given_up = self.give_up(consumer, units);
        }
        if let Err(error) = given_up {
            tracing::warn!(%error, stream = %member.topics.stream, ?units, "given up without a last commit");
            self.forget(units, false);
            let mut assignment = member.assignment();
            if let End::Leaving(left) = &mut assignment.end
                && let Some(left) = left.take()
            {
                // Nobody listens any more when the time to leave was over.
                let _ = left.send(Err(without_last_commit(error)));
            }
        }
        !consumer.assignment_lost()
    }
}

/// Whether the cluster knows the topic; `None` when nobody answers.
pub(crate) fn is_there(consumer: &MemberConsumer, topic: &str, patience: Duration) -> Option<bool> {
    let looked = consumer.fetch_metadata(Some(topic), patience).ok()?;
    Some(looked.topics().iter().any(|known| known.name() == topic && known.error().is_none()))
}

/// What a member hears that leaves.
fn without_last_commit(error: Error) -> Error {
    crate::error::error(ErrorKind::LeaseLost, "leave", "partitions went without a last commit").caused_by(error)
}

/// Tells the library that partitions are taken.
fn take(consumer: &MemberConsumer, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        _ => consumer.assign(partitions),
    }
}

/// Whether the engine has let go. If not, this thread is unparked when it does.
fn is_released(released: &mut Released) -> bool {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    matches!(pin!(released.wait()).poll(&mut Context::from_waker(&waker)), Poll::Ready(()))
}

#[cfg(test)]
mod tests;
