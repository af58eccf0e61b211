//! A member: joining, and what its two halves share.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fred::types::Value;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use zephcast_core::driver::{LONGEST, Membership, Subscription, after};
use zephcast_core::{Error, ErrorKind, Position, PositionStyle, Result, Start, Token};

use crate::connection::Connection;
use crate::error::{CallFailure, error, invalid, missing};
use crate::gone::Gone;
use crate::intake::{RedisIntake, UNIT};
use crate::keeper::Keeper;
use crate::keys::Keys;
use crate::lease::Fence;
use crate::reply::{Frame, count, elements, text};
use crate::scripts::{JOIN, Script};
use crate::settler::RedisSettler;

/// Who holds what was given back in good order. No member can have this name, since it contains a `/`.
pub(crate) const RETURNED: &str = "zephcast/returned";
/// Who holds what comes from an unclean end.
pub(crate) const SUSPECTS: &str = "zephcast/suspects";

/// What both halves of a member and its keeper share.
pub(crate) struct Member {
    pub(crate) keys: Keys,
    pub(crate) name: String,
    /// Tells this process from another one that joins under the same name.
    pub(crate) incarnation: String,
    pub(crate) lease: Duration,
    /// After which entry the group begins: as asked for, and once joined as the server has it.
    start: Mutex<String>,
    create: bool,
    pub(crate) payload_field: Bytes,
    /// For everything that does not block.
    pub(crate) control: Arc<Connection>,
    /// Until when nobody can have taken over what this member holds. Written by joining and by renewals.
    pub(crate) fence: Mutex<Fence>,
    /// Parked entries by the last look: written by the keeper, read by the intake.
    pub(crate) parked: Parked,
    /// Entries that are gone from the stream, not yet told.
    pub(crate) missing: AtomicU64,
    /// The group was created again, not yet told.
    pub(crate) recreated: AtomicBool,
    /// Another process joined under this name.
    replaced: AtomicBool,
    /// Read and not handed out yet: kept alive by renewals. Written by the intake.
    pub(crate) buffered: Mutex<HashSet<Token>>,
    /// Held, and gone from the stream. Written by the intake and by the settler.
    pub(crate) gone: Mutex<Gone>,
    /// Claimed as suspects and not settled. Written by the intake, and by the settler when they are.
    pub(crate) suspects: Mutex<HashMap<Token, Suspect>>,
    /// Wakes a fetch for parked entries.
    pub(crate) news: Notify,
    /// Ends a fetch.
    pub(crate) interrupts: Notify,
    /// When the earliest message that this member scheduled is due, and what wakes the keeper for it.
    pub(crate) due: Mutex<Option<Instant>>,
    pub(crate) scheduled: Notify,
    /// Whether a blocking read is under way, and the server's number of its connection.
    pub(crate) reading: watch::Sender<Option<i64>>,
}

/// How many entries wait for a claim.
#[derive(Default)]
pub(crate) struct Parked {
    returned: AtomicU64,
    /// Whether something was given back that the last look may not know of.
    given_back: AtomicBool,
    pub(crate) suspects: AtomicU64,
    /// Whether there was a look since the engine was last told of suspects.
    news: AtomicBool,
}

impl Parked {
    /// What a look found.
    pub(crate) fn found(&self, returned: u64, suspects: u64) {
        self.returned.store(returned, Ordering::Relaxed);
        self.suspects.store(suspects, Ordering::Relaxed);
        self.news.store(true, Ordering::Relaxed);
    }

    /// Whether there is something that was given back, by what is known.
    pub(crate) fn has_returned(&self) -> bool {
        self.returned.load(Ordering::Relaxed) > 0 || self.given_back.load(Ordering::Relaxed)
    }

    /// Something was given back, whatever a look that is under way will find.
    pub(crate) fn given_back(&self) {
        self.given_back.store(true, Ordering::Relaxed);
    }

    /// All of it was taken.
    pub(crate) fn none_returned(&self) {
        self.returned.store(0, Ordering::Relaxed);
        self.given_back.store(false, Ordering::Relaxed);
    }

    /// Whether the last look found suspects that the engine was not told of.
    pub(crate) fn has_news_of_suspects(&self) -> bool {
        self.suspects.load(Ordering::Relaxed) > 0 && self.news.load(Ordering::Relaxed)
    }

    /// The engine is told of suspects.
    pub(crate) fn told(&self) {
        self.news.store(false, Ordering::Relaxed);
    }
}

/// A suspect that this member has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    /// Its deliveries before the claim.
    pub(crate) deliveries: u64,
    /// Which attempt it was handed out as; none when it was not.
    attempt: Option<u32>,
}

impl Suspect {
    pub(crate) fn claimed(deliveries: u64) -> Self {
        Self { deliveries, attempt: None }
    }

    pub(crate) fn handed_out(deliveries: u64, attempt: u32) -> Self {
        Self { deliveries, attempt: Some(attempt) }
    }

    /// Whether it goes back with so many attempts as it had when it came.
    pub(crate) fn is_untried(&self, attempts: u32) -> bool {
        self.attempt.is_none_or(|attempt| attempts < attempt)
    }
}

impl Member {
    /// Joins: when this returns, the group, its start and the member exist at the server.
    pub(crate) async fn join(control: Arc<Connection>, subscription: Subscription) -> Result<Membership> {
        let Subscription { stream, group, member: name, start, lease, create, .. } = subscription;
        let lease = lease.min(LONGEST);
        let member = Arc::new(Self {
            keys: Keys::new(&stream, &group),
            name: name.as_str().to_owned(),
            incarnation: format!("{:016x}", fastrand::u64(..)),
            lease,
            start: Mutex::new(start_id("join", start)?),
            create,
            payload_field: Bytes::from(control.config().payload_field.clone()),
            control,
            fence: Mutex::new(Fence::new(lease)),
            parked: Parked::default(),
            missing: AtomicU64::new(0),
            recreated: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            buffered: Mutex::default(),
            gone: Mutex::default(),
            suspects: Mutex::default(),
            news: Notify::new(),
            interrupts: Notify::new(),
            due: Mutex::default(),
            scheduled: Notify::new(),
            reading: watch::channel(None).0,
        });
        member.enter(false).await?;
        let keeper = Keeper::start(member.clone());
        Ok(Membership {
            intake: Box::new(RedisIntake::new(member.clone())),
            settler: Arc::new(RedisSettler::new(member, keeper)),
        })
    }

    /// Creates what is missing of the group and enters the member; `again` when it was there and vanished.
    pub(crate) async fn enter(&self, again: bool) -> Result<()> {
        const OPERATION: &str = "join";
        let start = lock(&self.start).clone();
        let more_keys = [self.keys.delayed.as_str(), &self.keys.dead];
        let answer = self.try_run(OPERATION, &JOIN, &more_keys, || {
            vec![self.lease_ms().into(), start.as_str().into(), mark(self.create || again), mark(again)]
        });
        let answer = answer.await?.map_err(|failure| match failure.mentions("requires the key to exist") {
            true => missing(OPERATION, &self.keys.stream),
            false => failure.into_error(OPERATION),
        });
        let [now, gone, start, has_returned] = elements(OPERATION, answer?)?;
        // If all is lost and the group begins again, nothing that came meanwhile is skipped.
        *lock(&self.start) = text(OPERATION, start)?;
        lock(&self.fence).begin(count(OPERATION, &now)?, again);
        self.lost_from_stream(count(OPERATION, &gone)?);
        if count(OPERATION, &has_returned)? > 0 {
            self.parked.given_back();
        }
        Ok(())
    }

    /// Runs a script on what this member holds.
    pub(crate) async fn run(
        &self,
        operation: &'static str,
        script: &Script,
        more_keys: &[&str],
        arguments: impl Fn() -> Vec<Value>,
    ) -> Result<Frame> {
        let answer = self.try_run(operation, script, more_keys, arguments).await?;
        answer.map_err(|failure| failure.into_error(operation))
    }

    /// As [`run`](Self::run), with the failure of the script apart from that of connecting.
    async fn try_run(
        &self,
        operation: &'static str,
        script: &Script,
        more_keys: &[&str],
        arguments: impl Fn() -> Vec<Value>,
    ) -> Result<Result<Frame, CallFailure>> {
        self.try_run_for(1, operation, script, more_keys, arguments).await
    }

    /// Runs a script whose answer may take `patience` times the command timeout.
    pub(crate) async fn try_run_patiently(
        &self,
        patience: u32,
        operation: &'static str,
        script: &Script,
        arguments: impl Fn() -> Vec<Value>,
    ) -> Result<Result<Frame, CallFailure>> {
        self.try_run_for(patience, operation, script, &[], arguments).await
    }

    async fn try_run_for(
        &self,
        patience: u32,
        operation: &'static str,
        script: &Script,
        more_keys: &[&str],
        arguments: impl Fn() -> Vec<Value>,
    ) -> Result<Result<Frame, CallFailure>> {
        let mut keys = vec![self.keys.stream.as_str(), &self.keys.retry, &self.keys.members];
        keys.extend(more_keys);
        let arguments = || {
            let mut all =
                vec![self.keys.group.as_str().into(), self.name.as_str().into(), self.incarnation.as_str().into()];
            all.extend(arguments());
            all
        };
        self.control.try_run_for(patience, operation, script, &keys, arguments).await
    }

    pub(crate) fn lease_ms(&self) -> i64 {
        i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX)
    }

    /// Entries vanished from the stream before the group settled them.
    pub(crate) fn lost_from_stream(&self, how_many: u64) {
        if how_many > 0 {
            self.missing.fetch_add(how_many, Ordering::Relaxed);
            self.news.notify_one();
        }
    }

    /// This member scheduled a message that is due after `delay`.
    pub(crate) fn schedule(&self, delay: Duration) {
        let at = after(Instant::now(), delay);
        let mut due = lock(&self.due);
        if due.is_none_or(|earliest| at < earliest) {
            *due = Some(at);
            self.scheduled.notify_one();
        }
    }

    /// Another process joined under this name: whatever this one holds is the other's.
    pub(crate) fn set_replaced(&self) {
        self.replaced.store(true, Ordering::Relaxed);
        self.news.notify_one();
    }

    /// # Errors
    /// `Conflict` when another process joined under this name.
    pub(crate) fn check_replaced(&self, operation: &'static str) -> Result<()> {
        if self.replaced.load(Ordering::Relaxed) { Err(self.replaced_error(operation)) } else { Ok(()) }
    }

    fn replaced_error(&self, operation: &'static str) -> Error {
        let text = format!("another process joined as {:?}; names of living members must differ", self.name);
        error(ErrorKind::Conflict, operation, text)
    }
}

/// How scripts are told yes and no.
pub(crate) fn mark(yes: bool) -> Value {
    if yes { "1".into() } else { "0".into() }
}

/// Locks what no code holds across an await or a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// After which entry id a group begins.
///
/// # Errors
/// `InvalidInput` for a position that is another broker's.
pub(crate) fn start_id(operation: &'static str, start: Start) -> Result<String> {
    let before = |Token(ms, sequence): Token| match (ms, sequence) {
        (0, 0) => "0-0".to_owned(),
        (ms, 0) => format!("{}-{}", ms - 1, u64::MAX),
        (ms, sequence) => format!("{ms}-{}", sequence - 1),
    };
    Ok(match start {
        Start::Latest => "$".into(),
        Start::Time(ms) => before(Token(ms, 0)),
        Start::Position(at) if at == Position::new(PositionStyle::EntryId, UNIT, at.token) => before(at.token),
        Start::Position(at) => return Err(invalid(operation, format!("a Redis stream cannot have the position {at}"))),
        // A start that this driver does not know would be refused by its capabilities.
        Start::Earliest | _ => "0-0".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_includes_what_it_names() {
        let id = |start| start_id("test", start).unwrap();
        let at = |style, ms, sequence| Start::Position(Position::new(style, UNIT, Token(ms, sequence)));
        assert_eq!(id(at(PositionStyle::EntryId, 5, 3)), "5-2");
        assert_eq!(id(at(PositionStyle::EntryId, 5, 0)), format!("4-{}", u64::MAX));
        assert_eq!(id(Start::Time(5)), format!("4-{}", u64::MAX));
        assert_eq!((id(Start::Earliest), id(Start::Time(0))), ("0-0".into(), "0-0".into()));
        let foreign = start_id("test", at(PositionStyle::UnitOffset, 5, 0)).unwrap_err();
        assert_eq!(foreign.kind(), ErrorKind::InvalidInput);
    }
}
