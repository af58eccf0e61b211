//! A member's own thread, where the client library is polled.
//!
//! It does not block in the library while all is well: it parks, and is unparked by the library's queues, by the intake
//! for room, and by the settler for a commit.

mod leaving;
mod logs;
mod trouble;

use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use zephcast_core::{Error, ErrorKind, Result};

use crate::assignment::End;
use crate::error::{error, translate};
use crate::member::Member;
use crate::native::{LONGEST_READ, log_start};
use crate::reading::Reading;
use crate::rebalance::MemberContext;

/// The longest park, in case that somebody forgot to unpark.
const LONGEST_PARK: Duration = Duration::from_millis(100);
/// How soon a consumer that broke is made anew.
const REBUILD: Duration = Duration::from_secs(1);
/// About how many bytes a read may bring.
const READ_BYTES: usize = 1024 * 1024;
/// About the most bytes of records that wait for something that may take long, in all partitions together. A partition that
/// has more than its share is not fetched, until it has less than half of it.
const MOST_PARKED: usize = 32 * 1024 * 1024;
/// The least share, so that fetching again is worth it.
const LEAST_SHARE: usize = 64 * 1024;

/// Starts the thread, with a consumer that is about to subscribe.
pub(crate) fn start(member: Arc<Member>) -> Result<Thread> {
    let consumer = Poller::consumer(&member)?;
    let name = format!("zephcast {}", member.topics.group);
    let spawned = thread::Builder::new().name(name).spawn(move || live(&member, consumer));
    let handle =
        spawned.map_err(|source| error(ErrorKind::Internal, "join", "no thread to poll on").caused_by(source))?;
    Ok(handle.thread().clone())
}

fn live(member: &Arc<Member>, first: BaseConsumer<MemberContext>) {
    poll(member, first);
    let mut assignment = member.assignment();
    assignment.end_commits();
    if let End::Leaving(left) = &mut assignment.end {
        // Nobody listens any more when the time to leave was over.
        left.take().map(|left| left.send(Ok(())));
    }
}

/// Polls until the member ends.
fn poll(member: &Arc<Member>, first: BaseConsumer<MemberContext>) {
    let mut consumer = first;
    loop {
        let mut poller = Poller::on_this_thread(member.clone(), consumer);
        let ended = poller.run();
        if matches!(ended, Ended::Broken) {
            member.assignment().lose_all();
            member.arrived.notify_one();
        }
        poller.end();
        if matches!(ended, Ended::Member) {
            return;
        }
        thread::park_timeout(REBUILD);
        consumer = match Poller::consumer(member) {
            Ok(consumer) => consumer,
            Err(error) => return fail(member, error),
        };
    }
}

/// Nothing can be polled any more. The member still is to be answered when it leaves.
fn fail(member: &Arc<Member>, error: Error) {
    member.assignment().fail(error);
    member.arrived.notify_one();
    while matches!(member.assignment().end, End::Not) {
        thread::park_timeout(LONGEST_PARK);
    }
}

/// Why a consumer is of no more use.
enum Ended {
    /// The member is at its end.
    Member,
    /// This consumer cannot go on; a new one can.
    Broken,
}

struct Poller {
    member: Arc<Member>,
    consumer: BaseConsumer<MemberContext>,
    /// Nothing was heard of the engine for a lease, so the group was left.
    asleep: bool,
    /// How many records the next read may bring.
    read_most: usize,
    looks: trouble::Looks,
    /// When the logs were looked at.
    logs_seen: Instant,
}

impl Poller {
    fn consumer(member: &Arc<Member>) -> Result<BaseConsumer<MemberContext>> {
        let config = member.config.member_config(&member.topics.group, &member.name, member.lease);
        let context = MemberContext::new(member.clone());
        config.create_with_context(context).map_err(|source| translate("join", source))
    }

    fn on_this_thread(member: Arc<Member>, consumer: BaseConsumer<MemberContext>) -> Self {
        consumer.context().open_queues(&consumer);
        let looks = trouble::Looks::new();
        Self { member, consumer, asleep: false, read_most: 16, looks, logs_seen: Instant::now() }
    }

    fn run(&mut self) -> Ended {
        loop {
            if let Some(ended) = self.serve_events() {
                return ended;
            }
            if self.leave_if_asked() {
                return Ended::Member;
            }
            if std::mem::take(&mut self.member.assignment().broken) {
                return Ended::Broken;
            }
            self.watch_engine();
            self.subscribe();
            // A member that failed settles what it has, and believes nothing more.
            let reads = !self.member.assignment().has_failed();
            let more = reads && self.read();
            self.consumer.context().serve_commits();
            if self.member.assignment().commit.is_late() {
                self.member.arrived.notify_one();
            }
            self.hold_back();
            self.look_for_trouble();
            if reads && !more {
                self.look_at_logs();
            }
            if !more {
                let due = self.member.assignment().commit_due_in(self.member.config.commit_interval);
                thread::park_timeout(due.min(LONGEST_PARK));
            }
        }
    }

    /// Rebalances, answers of commits, errors.
    fn serve_events(&mut self) -> Option<Ended> {
        loop {
            let waiting = self.consumer.context().with_batches(|batches| batches.events()).unwrap_or(0);
            // Once without any, too: polling says that this thread lives.
            let polled = self.consumer.poll(Duration::ZERO);
            match polled {
                Some(Err(error)) => {
                    if let Some(ended) = self.take_error(&error) {
                        return Some(ended);
                    }
                }
                Some(Ok(record)) => self.lead_back(record.topic(), record.partition()),
                None => {}
            }
            if waiting <= 1 {
                return None;
            }
        }
    }

    /// Leaves if it is asked to, with everything committed; whether the member is at its end.
    fn leave_if_asked(&mut self) -> bool {
        let leaving = match &mut self.member.assignment().end {
            End::Not => return false,
            End::Abandoned => return true,
            End::Leaving(left) => left.take(),
        };
        let units = self.member.assignment().units();
        let given_up = self.consumer.context().give_up(&self.consumer, &units);
        let (end, is_over) = match given_up {
            Ok(()) => (End::Leaving(leaving), true),
            // Whoever asked may have given up, and is not heard of again.
            Err(error) if error.is_retryable() => match leaving.is_some_and(|left| left.send(Err(error)).is_ok()) {
                true => (End::Not, false),
                false => (End::Abandoned, true),
            },
            Err(error) => {
                tracing::warn!(%error, stream = %self.member.topics.stream, "left without a last commit");
                leaving.into_iter().for_each(|left| drop(left.send(Err(error.clone()))));
                (End::Leaving(None), true)
            }
        };
        self.member.assignment().end = end;
        is_over
    }

    /// An engine that is not heard of for a lease is stuck: others take over what it has, until it is heard of again.
    fn watch_engine(&mut self) {
        let silence = self.member.assignment().silence();
        let silent = silence > self.member.lease;
        if silent && !self.asleep {
            tracing::warn!(stream = %self.member.topics.stream, member = %self.member.name, ?silence,
                "nothing was heard of this member for a lease; it leaves the group until it is back");
            self.asleep = true;
            self.member.assignment().lose_all();
            self.consumer.unsubscribe();
            self.member.arrived.notify_one();
        }
        self.asleep &= silent;
    }

    fn subscribe(&mut self) {
        let topics: Vec<String> = {
            let mut assignment = self.member.assignment();
            if self.asleep || !assignment.resubscribe {
                return;
            }
            assignment.resubscribe = false;
            assignment.topics.iter().cloned().collect()
        };
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        if let Err(error) = self.consumer.subscribe(&names) {
            self.member.assignment().fail(translate("join", error));
            self.member.arrived.notify_one();
        }
    }

    /// Reads what there is room for; whether there is more to read at once.
    fn read(&mut self) -> bool {
        let room = self.member.assignment().room();
        if room == 0 {
            return false;
        }
        let most = room.min(self.read_most);
        let messages = self.consumer.context().with_batches(|batches| batches.read(most)).unwrap_or_default();
        if messages.is_empty() {
            return false;
        }
        tracing::trace!(count = messages.len(), "records were read");
        let mut reading = Reading::of(&messages, &self.member.topics);
        drop(messages);
        let failures = std::mem::take(&mut reading.failures);
        let fits = READ_BYTES / reading.largest.max(1);
        self.read_most = fits.clamp(1, (self.read_most * 4).min(LONGEST_READ));
        let astray = {
            let mut assignment = self.member.assignment();
            assignment.came_back();
            let log_start = |unit| {
                let (topic, number) = self.member.topics.partition(unit)?;
                log_start(&self.consumer, topic, number)
            };
            reading.hand_over(&mut assignment, log_start)
        };
        self.member.arrived.notify_one();
        for (code, text) in failures {
            self.take_code(code, &text);
        }
        for unit in astray {
            self.find_place(unit);
        }
        true
    }

    /// Partitions of which enough waits are not fetched until some of that is gone.
    fn hold_back(&mut self) {
        let mut gone = None;
        let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
        let mut resumed = Vec::new();
        let mut assignment = self.member.assignment();
        let parking = assignment.partitions().filter(|(_, partition)| partition.parked_bytes() > 0).count();
        let share = (MOST_PARKED / parking.max(1)).max(LEAST_SHARE);
        for (unit, partition) in assignment.partitions() {
            let Some((topic, number)) = self.member.topics.partition(unit) else { continue };
            if partition.gone_for().is_some() {
                gone = Some(unit);
            }
            let parked = partition.parked_bytes() > share;
            let free = partition.parked_bytes() <= share / 2;
            match partition.paused {
                false if parked => {
                    partition.paused = true;
                    pause.add_partition(topic, number);
                }
                true if free => {
                    partition.paused = false;
                    resume.add_partition(topic, number);
                    resumed.push((unit, partition.position()));
                }
                _ => {}
            }
        }
        drop(assignment);
        if pause.count() > 0 && self.consumer.pause(&pause).is_err() {
            tracing::debug!("partitions to pause are not there any more");
        }
        if resume.count() > 0 && self.consumer.resume(&resume).is_err() {
            tracing::debug!("partitions to resume are not there any more");
        }
        // The library resumes at its own position, which an error may have moved.
        for (unit, position) in resumed {
            self.read_from(unit, position);
        }
        // One at a time, since it takes a question to the broker.
        if let Some(unit) = gone
            && !self.member.assignment().has_failed()
        {
            self.find_place(unit);
        }
    }
}

#[cfg(test)]
mod tests;
