//! A stream: its partitions, its groups, and who waits for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Wake, Waker};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use zephcast_core::{
    Broker, GroupName, Message, Position, PositionStyle, Result, Start, StreamName, StreamStatus, Token, UnitId,
};

use crate::error::{invalid, no_group};
use crate::group::Group;
use crate::lock::lock;
use crate::log::{Log, Record};

/// A named log of partitions with its groups.
#[derive(Debug)]
pub(crate) struct Stream {
    name: StreamName,
    partitions: Vec<Mutex<Log>>,
    retention_bytes: u64,
    groups: Mutex<BTreeMap<GroupName, Arc<Group>>>,
    /// Counts messages without a key.
    keyless: AtomicU64,
    deleted: AtomicBool,
    /// Woken whenever a waiting fetch may find something: a publish, a settlement, a change of members, a fault.
    changed: Arc<Changed>,
}

#[derive(Debug, Default)]
struct Changed(Notify);

impl Wake for Changed {
    fn wake(self: Arc<Self>) {
        self.0.notify_waiters();
    }
}

impl Stream {
    pub(crate) fn new(name: StreamName, partitions: u32, retention_bytes: u64) -> Self {
        let share = retention_bytes / u64::from(partitions);
        Self {
            name,
            partitions: (0..partitions).map(|_| Mutex::new(Log::new(share))).collect(),
            retention_bytes,
            groups: Mutex::default(),
            keyless: AtomicU64::new(0),
            deleted: AtomicBool::new(false),
            changed: Arc::default(),
        }
    }

    pub(crate) fn name(&self) -> &StreamName {
        &self.name
    }

    pub(crate) fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    pub(crate) fn retention_bytes(&self) -> u64 {
        self.retention_bytes
    }

    /// Stores a batch in order, one lock for each partition of it, and says where each message lies.
    pub(crate) fn append(&self, batch: &[Message], published_ms: u64) -> Vec<Position> {
        let units: Vec<u32> = batch.iter().map(|message| self.unit_of(message)).collect();
        let mut order: Vec<usize> = (0..batch.len()).collect();
        // Stable, so that messages of one partition stay in order.
        order.sort_by_key(|n| units[*n]);
        let mut offsets = vec![0; batch.len()];
        for of_unit in order.chunk_by(|a, b| units[*a] == units[*b]) {
            let mut log = self.log(UnitId(units[of_unit[0]]));
            for n in of_unit {
                offsets[*n] = log.append(Record { message: batch[*n].clone(), published_ms });
            }
        }
        self.wake();
        let position = |(unit, offset)| Position::new(PositionStyle::UnitOffset, UnitId(unit), Token(offset, 0));
        units.into_iter().zip(offsets).map(position).collect()
    }

    /// Locks a partition's log. Units come from this stream, so there is one.
    pub(crate) fn log(&self, unit: UnitId) -> MutexGuard<'_, Log> {
        lock(&self.partitions[unit.0 as usize])
    }

    pub(crate) fn units(&self) -> impl Iterator<Item = UnitId> + use<> {
        (0..self.partitions()).map(UnitId)
    }

    pub(crate) fn group(&self, name: &GroupName) -> Option<Arc<Group>> {
        lock(&self.groups).get(name).cloned()
    }

    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        lock(&self.groups).values().cloned().collect()
    }

    /// The group of this name, made at `start` if it does not exist.
    ///
    /// # Errors
    /// `InvalidInput` when the start is a position that this stream cannot have.
    pub(crate) fn group_or_create(&self, name: &GroupName, start: Start) -> Result<Arc<Group>> {
        let mut groups = lock(&self.groups);
        if let Some(group) = groups.get(name) {
            return Ok(group.clone());
        }
        let group = Arc::new(Group::new(name.clone(), self.cursors(start)?));
        groups.insert(name.clone(), group.clone());
        Ok(group)
    }

    /// Deletes a group.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Conflict` while members of it live.
    pub(crate) fn delete_group(&self, operation: &'static str, name: &GroupName) -> Result<()> {
        let mut groups = lock(&self.groups);
        let group = groups.get(name).ok_or_else(|| no_group(operation, &self.name, name))?;
        group.open(self).delete(operation)?;
        groups.remove(name);
        Ok(())
    }

    pub(crate) fn status(&self) -> StreamStatus {
        let depth = |unit| {
            let log = self.log(unit);
            log.end() - log.start()
        };
        StreamStatus {
            stream: self.name.clone(),
            broker: Broker::Memory,
            depth: Some(self.units().map(depth).sum()),
            units: self.units().collect(),
            groups: Some(lock(&self.groups).keys().cloned().collect()),
        }
    }

    /// Drops what every group has settled and returns how many messages that were. Without a group nothing is dropped:
    /// it is kept for groups to come.
    pub(crate) fn trim(&self) -> u64 {
        let groups = self.groups();
        let drop_settled = |unit| {
            let needed = groups.iter().map(|group| group.open(self).needs_from(unit)).min();
            self.log(unit).trim(needed.unwrap_or(0))
        };
        self.units().map(drop_settled).sum()
    }

    pub(crate) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Makes every waiting fetch look again.
    pub(crate) fn wake(&self) {
        self.changed.0.notify_waiters();
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(self.changed.clone())
    }

    /// Resolves on the next [`wake`](Self::wake) from now on, polled or not.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.0.notified()
    }

    /// By a stable hash of the key, in turn without one.
    fn unit_of(&self, message: &Message) -> u32 {
        let number = message.key().map_or_else(|| self.keyless.fetch_add(1, Ordering::Relaxed), |key| hash(key));
        (number % u64::from(self.partitions())) as u32
    }

    /// Where each unit begins for this start.
    ///
    /// # Errors
    /// `InvalidInput` when the start is a position that this stream cannot have.
    pub(crate) fn cursors(&self, start: Start) -> Result<Vec<u64>> {
        let each = |cursor: &dyn Fn(&Log) -> u64| Ok(self.units().map(|unit| cursor(&self.log(unit))).collect());
        match start {
            Start::Earliest => each(&Log::start),
            Start::Latest => each(&Log::end),
            Start::Time(ms) => each(&|log| log.first_at(ms)),
            Start::Position(position) => self.cursors_at(position),
            _ => Err(invalid("start", "this broker does not know such a start")),
        }
    }

    /// At the position in its own unit; in the others at the first message that is not older, so that nothing after the
    /// position is passed over. A position whose message is gone begins everywhere at the earliest; one at the end of
    /// its unit, at every end.
    fn cursors_at(&self, position: Position) -> Result<Vec<u64>> {
        let Position { unit, token: Token(offset, _), .. } = position;
        let style_fits = position == Position::new(PositionStyle::UnitOffset, unit, position.token);
        if !style_fits || unit.0 >= self.partitions() || offset > self.log(unit).end() {
            let text = format!("the stream {:?} cannot have the position {position}", self.name);
            return Err(invalid("start", text));
        }
        let (since, gone) = {
            let log = self.log(unit);
            (log.get(offset).map(|record| record.published_ms), offset < log.start())
        };
        let cursor = |other: UnitId| {
            let log = self.log(other);
            match since {
                _ if other == unit => offset.max(log.start()),
                Some(since) => log.first_at(since),
                None if gone => log.start(),
                None => log.end(),
            }
        };
        Ok(self.units().map(cursor).collect())
    }
}

/// FNV-1a, spread over all bits: equal on every platform and in every version.
fn hash(key: &[u8]) -> u64 {
    let hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}
