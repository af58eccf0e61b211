//! What a member has, what is to be told of it, and what is asked of the poll thread.
//!
//! A plain state machine under one lock: the poll thread puts in what comes from the broker, the intake takes it out, the
//! settler says what became of it.
//!
//! A coordinator of a classic group answers nothing of a member that waits for others to join, and it may have to wait for
//! a dead one for a session. Members go on meanwhile: what they hand out then is not told to anybody.

mod commit;
mod identity;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zephcast_core::driver::{Batch, Credit, Fetched, Incoming, Release, Released};
use zephcast_core::{Error, Result, UnitId};

pub(crate) use self::commit::Commit;
use self::identity::Identity;
use crate::partition::Partition;

/// The most records, and bytes, that wait to be handed out. Read on when half of that is gone.
const MOST_READY: usize = 4_096;
const MOST_READY_BYTES: usize = 4 * 1024 * 1024;
/// How often an engine that does not take suspects is told of them.
const TELL_SUSPECTS: Duration = Duration::from_secs(1);

pub(crate) struct Assignment {
    partitions: BTreeMap<UnitId, Partition>,
    /// Assignments so far.
    count: u64,
    /// Which topic the stream is.
    identity: Identity,
    /// The topics that the member subscribes to.
    pub(crate) topics: BTreeSet<String>,
    /// Whether they have changed.
    pub(crate) resubscribe: bool,
    /// Helper topics that are known to exist.
    pub(crate) helpers: BTreeSet<String>,
    news: VecDeque<Fetched>,
    /// What ends the member.
    failure: Option<Error>,
    /// Why nothing can be fetched for now.
    outage: Outage,
    /// Whether the engine has to be told that the broker is back.
    back: bool,
    pub(crate) commit: Commit,
    /// Units of which something that was settled is lost, not yet told.
    lost: Vec<UnitId>,
    /// When the engine was last heard of.
    heard: Instant,
    /// When a broker was.
    answered: Instant,
    /// Since when the oldest delivery has been out, in milliseconds since the Unix epoch.
    pub(crate) oldest_ms: Option<u64>,
    /// How long the lease is.
    lease_ms: u64,
    /// Whose turn it is to be handed out.
    turn: UnitId,
    suspects_told: Option<Instant>,
    pub(crate) end: End,
    /// Whether the client library's consumer is of no more use.
    pub(crate) broken: bool,
    /// Whether the poll thread waits for room.
    full: bool,
}

/// What is known of the broker being away.
#[derive(Default)]
pub(crate) enum Outage {
    #[default]
    None,
    /// It is away, and the engine has to be told.
    Untold(Error),
    /// The engine was told, and a fetch waits for the outcome of another try.
    Told(Error),
}

/// How far the member's end has come.
#[derive(Default)]
pub(crate) enum End {
    #[default]
    Not,
    /// Nobody is there any more: whatever is out comes back as from a death.
    Abandoned,
    /// It leaves in good order and says when it has.
    Leaving(Option<oneshot::Sender<Result<()>>>),
}

impl Assignment {
    pub(crate) fn new(topics: BTreeSet<String>, lease: Duration) -> Self {
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        Self {
            partitions: BTreeMap::new(),
            count: 0,
            identity: Identity::default(),
            topics,
            resubscribe: true,
            helpers: BTreeSet::new(),
            news: VecDeque::new(),
            failure: None,
            outage: Outage::None,
            back: false,
            commit: Commit::new(),
            lost: Vec::new(),
            heard: Instant::now(),
            answered: Instant::now(),
            oldest_ms: None,
            lease_ms,
            turn: UnitId(0),
            suspects_told: None,
            end: End::Not,
            broken: false,
            full: false,
        }
    }

    /// A broker answered something.
    pub(crate) fn answered(&mut self) {
        self.answered = Instant::now();
    }

    /// How long no broker answered anything.
    pub(crate) fn unanswered(&self) -> Duration {
        self.answered.elapsed()
    }

    /// The engine lives.
    pub(crate) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// How long nothing was heard of the engine.
    pub(crate) fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// What the engine reported is to be told with the next commit, as far as something is in flight.
    pub(crate) fn report(&mut self) {
        self.partitions.values_mut().for_each(Partition::report);
    }

    /// Why nothing can be fetched for now.
    pub(crate) fn outage_to_tell(&self) -> Option<Error> {
        match &self.outage {
            Outage::None => None,
            Outage::Untold(error) | Outage::Told(error) => Some(error.clone()),
        }
    }

    pub(crate) fn abandon(&mut self) {
        if matches!(self.end, End::Not) {
            self.end = End::Abandoned;
        }
    }

    pub(crate) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// Whether the member has come to a bad end, of which its user hears.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The stream's topic was seen with this id. Whether a partition is of an earlier one; none as long as that is not
    /// certain.
    pub(crate) fn topic_is(&mut self, topic: u64) -> Option<bool> {
        let topic = self.identity.seen(topic)?;
        let of_stream = self.partitions.iter_mut().filter(|(unit, _)| !unit.is_helper());
        Some(of_stream.fold(false, |is_gone, (_, partition)| {
            partition.topic_is(topic);
            is_gone || partition.gone_for().is_some()
        }))
    }

    /// A number for the next assignment.
    pub(crate) fn next_assignment(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// These partitions are now this member's.
    pub(crate) fn assigned(&mut self, partitions: Vec<(UnitId, Partition)>) {
        if partitions.is_empty() {
            return;
        }
        self.news.push_back(Fetched::Assigned(partitions.iter().map(|(unit, _)| *unit).collect()));
        self.partitions.extend(partitions);
    }

    /// The units of these that are this member's.
    pub(crate) fn owned(&self, units: Vec<UnitId>) -> Vec<UnitId> {
        units.into_iter().filter(|unit| self.partitions.contains_key(unit)).collect()
    }

    pub(crate) fn units(&self) -> Vec<UnitId> {
        self.partitions.keys().copied().collect()
    }

    /// Asks the engine to give units up. Nothing more of them is handed out.
    pub(crate) fn revoke(&mut self, units: Vec<UnitId>) -> Released {
        for unit in &units {
            if let Some(partition) = self.partitions.get_mut(unit) {
                partition.stop();
            }
        }
        let (release, released) = Release::new(units);
        self.news.push_back(Fetched::Revoking(release));
        released
    }

    /// These units are somebody else's. What was settled of them and is not durable is lost.
    pub(crate) fn lose(&mut self, units: &[UnitId]) {
        let told: Vec<_> = units.iter().copied().filter(|unit| self.remove(*unit, false)).collect();
        if !told.is_empty() {
            self.news.retain(|news| !matches!(news, Fetched::Revoking(release) if release.units.iter().all(|unit| told.contains(unit))));
            self.news.push_back(Fetched::Lost(told));
        }
    }

    /// Forgets a unit; whether it was this member's. `durable`: everything that was settled is at the broker.
    pub(crate) fn remove(&mut self, unit: UnitId, durable: bool) -> bool {
        let Some(partition) = self.partitions.remove(&unit) else { return false };
        if partition.is_undurable() && !durable {
            self.lost.push(unit);
        }
        true
    }

    /// Units of which something settled is lost, told once.
    pub(crate) fn take_lost(&mut self) -> Vec<UnitId> {
        std::mem::take(&mut self.lost)
    }

    pub(crate) fn partition(&mut self, unit: UnitId) -> Option<&mut Partition> {
        self.partitions.get_mut(&unit)
    }

    pub(crate) fn partitions(&mut self) -> impl Iterator<Item = (UnitId, &mut Partition)> {
        self.partitions.iter_mut().map(|(unit, partition)| (*unit, partition))
    }

    pub(crate) fn tell(&mut self, news: Fetched) {
        self.news.push_back(news);
    }

    /// Everything is somebody else's.
    pub(crate) fn lose_all(&mut self) {
        let units = self.units();
        self.lose(&units);
        self.end_commits();
        self.resubscribe = true;
    }

    /// The broker is away.
    pub(crate) fn away(&mut self, error: Error) {
        if matches!(self.outage, Outage::None) {
            self.outage = Outage::Untold(error);
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        !matches!(self.outage, Outage::None)
    }

    /// The broker is there. Whether it was away.
    pub(crate) fn came_back(&mut self) -> bool {
        self.answered();
        let was_away = matches!(self.outage, Outage::Told(_));
        self.outage = Outage::None;
        self.back |= was_away;
        was_away
    }

    /// What can be said without waiting.
    pub(crate) fn next(&mut self, credit: Credit, now_ms: u64) -> Option<Result<Fetched>> {
        if let Some(news) = self.news.pop_front() {
            return Some(Ok(news));
        }
        if let Some(error) = &self.failure {
            return Some(Err(error.clone()));
        }
        if let Outage::Untold(error) = &self.outage {
            let error = error.clone();
            self.outage = Outage::Told(error.clone());
            return Some(Err(error));
        }
        if std::mem::take(&mut self.back) {
            return Some(Ok(Fetched::Idle));
        }
        if credit.messages == 0 || credit.suspect {
            return None;
        }
        if let Some(batch) = self.hand_out(credit, now_ms) {
            return Some(Ok(Fetched::Batch(batch)));
        }
        let untold = self.suspects_told.is_none_or(|told| told.elapsed() > TELL_SUSPECTS);
        if untold && self.partitions.values().any(|partition| partition.suspect_waits(now_ms)) {
            self.suspects_told = Some(Instant::now());
            return Some(Ok(Fetched::Suspects));
        }
        None
    }

    /// A batch of the next partition that has one.
    fn hand_out(&mut self, credit: Credit, now_ms: u64) -> Option<Batch> {
        let (turn, beyond) = (self.turn, self.commit.is_late());
        for after in [true, false] {
            let from = if after { turn } else { UnitId(0) };
            for (unit, partition) in self.partitions.range_mut(from..) {
                if !after && *unit >= turn {
                    break;
                }
                let messages = credit.messages.min(partition.spare(self.commit.metadata));
                let messages = partition.hand_out(Credit { messages, ..credit }, now_ms, beyond);
                if !messages.is_empty() {
                    self.turn = UnitId(unit.0 + 1);
                    return Some(Batch { unit: *unit, messages });
                }
            }
        }
        None
    }

    /// Counts the next suspect's attempt; it is handed out once that is durable.
    pub(crate) fn accuse(&mut self, now_ms: u64) -> Option<(UnitId, i64)> {
        let (unit, partition) = self.partitions.iter_mut().find(|(_, partition)| partition.suspect_waits(now_ms))?;
        Some((*unit, partition.accuse(now_ms)?))
    }

    pub(crate) fn hand_out_suspect(&mut self, unit: UnitId, accused: i64, now_ms: u64) -> Option<Incoming> {
        self.suspects_told = None;
        self.partitions.get_mut(&unit)?.hand_out_suspect(accused, now_ms)
    }

    /// When a delayed message becomes due next.
    pub(crate) fn wakes_at(&self, now_ms: u64) -> Option<u64> {
        self.partitions.values().filter_map(|partition| partition.due(now_ms)).min()
    }

    pub(crate) fn suspects_wait(&self, now_ms: u64) -> bool {
        self.partitions.values().any(|partition| partition.suspect_waits(now_ms))
    }

    /// Whether something of this unit that was settled is lost, and nobody was told yet.
    pub(crate) fn is_lost(&self, unit: UnitId) -> bool {
        self.lost.contains(&unit)
    }

    /// How many records may be read now.
    pub(crate) fn room(&mut self) -> usize {
        let room = self.free();
        self.full = room == 0;
        room
    }

    /// What there is room for; nothing before half of what filled it is gone.
    fn free(&self) -> usize {
        let (messages, bytes) = self.ready();
        let share = if self.full { 2 } else { 1 };
        let has_room = messages < MOST_READY / share && bytes < MOST_READY_BYTES / share;
        if has_room { MOST_READY - messages } else { 0 }
    }

    /// Whether the poll thread has something to do that nobody tells it: there is room again, or what is handed out comes
    /// to the end of what is durable.
    pub(crate) fn is_waited_for(&self, now_ms: u64) -> bool {
        self.full && self.free() > 0
            || !self.commit.is_under_way() && self.partitions.values().any(|partition| partition.wants_reach(now_ms))
    }

    /// Records that wait to be handed out, without those that cannot be for now.
    fn ready(&self) -> (usize, usize) {
        let ready = self.partitions.values().filter(|partition| !partition.is_blocked()).map(Partition::waiting);
        ready.fold((0, 0), |sum, waiting| (sum.0 + waiting.0, sum.1 + waiting.1))
    }
}
