//! A member: joining, and what its two halves share.

pub(crate) mod words;

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use zephcast_core::driver::{Membership, Subscription, Undurable};
use zephcast_core::{Error, ErrorKind, Event, Result, UnitId};

use self::words::Outlived;
use crate::brokers::Brokers;
use crate::config::{QueueType, Topology};
use crate::connection::Connection;
use crate::error::{no_group, unless_deleted};
use crate::hints::Hint;
use crate::intake::RabbitIntake;
use crate::names::Names;
use crate::native::{self, DeadLetterExchange};
use crate::pace::Pace;
use crate::roll_call::Answering;
use crate::session::Session;
use crate::settler::{RabbitSettler, overdue};
use crate::suspect::Suspect;
use crate::topology::{self, Found};

/// The group's queue, which all members share.
pub(crate) const UNIT: UnitId = UnitId(0);
/// The queue of suspects.
pub(crate) const SUSPECTS: UnitId = UnitId(UnitId::HELPERS);

/// What the halves of a member share.
pub(crate) struct Member {
    pub(crate) subscription: Subscription,
    pub(crate) names: Names,
    /// For consuming and settling alone.
    pub(crate) connection: Connection,
    /// For everything else.
    pub(crate) brokers: Arc<Brokers>,
    session: Mutex<Option<Arc<Session>>>,
    /// Whether the group's queue had to be made, and no session has told it.
    is_new: AtomicBool,
    /// What the group was found to be.
    group: Mutex<Option<Found>>,
    epochs: AtomicU64,
    /// How many deliveries it has acknowledged or given up.
    pub(crate) settled: AtomicU64,
    pub(crate) lost_unsynced: LostUnsynced,
    outlived: Mutex<Outlived>,
    /// Held by whoever says what was outlived.
    telling: tokio::sync::Mutex<()>,
    /// How long its user had the delivery that it works on longest, and when that was said.
    working: Mutex<Option<(Duration, Instant)>>,
    pub(crate) pace: Pace,
    dead_letters: Mutex<Option<DeadLetterExchange>>,
    /// What the next fetch is to tell.
    news: Mutex<VecDeque<Event>>,
    /// Wakes a waiting fetch.
    pub(crate) interrupted: Notify,
}

/// Whether what sessions had settled was not known to be durable when they ended. Told by the next commit.
#[derive(Default)]
pub(crate) struct LostUnsynced(Mutex<Unsynced>);

#[derive(Default)]
struct Unsynced {
    is_there: bool,
    /// Whether there is some of sessions whose end the engine knows.
    is_of_known_end: bool,
}

impl LostUnsynced {
    pub(crate) fn add(&self) {
        self.lock().is_there = true;
    }

    /// The engine knows by now that every session that ended did.
    pub(crate) fn note_known(&self) {
        let mut unsynced = self.lock();
        unsynced.is_of_known_end |= std::mem::take(&mut unsynced.is_there);
    }

    pub(crate) fn take(&self) -> Undurable {
        let Unsynced { is_there, is_of_known_end } = std::mem::take(&mut *self.lock());
        let units = |is_lost| if is_lost { vec![UNIT, SUSPECTS] } else { Vec::new() };
        Undurable { unknown: units(is_there), unknown_of_lost: units(is_of_known_end), ..Undurable::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Unsynced> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Joins: makes sure that the group exists, and subscribes.
    pub(crate) async fn join(brokers: Arc<Brokers>, subscription: Subscription) -> Result<Membership> {
        let member = Self::begin(brokers, subscription).await?;
        let intake = Box::new(RabbitIntake::new(member.clone()));
        Ok(Membership { intake, settler: Arc::new(RabbitSettler::new(member)) })
    }

    /// What its two halves share, of one that has joined.
    pub(crate) async fn begin(brokers: Arc<Brokers>, subscription: Subscription) -> Result<Arc<Self>> {
        const OPERATION: &str = "join";
        let names = Names::new(brokers.control.config(), &subscription.stream, &subscription.group)?;
        if brokers.control.config().queue_type == QueueType::Stream {
            return Err(no_group(OPERATION, &names.queue));
        }
        overdue::check(OPERATION, brokers.control.config().consumer_timeout, subscription.lease)?;
        // Noticed within the lease, which is two heartbeats.
        let heartbeat = subscription.lease / 2;
        let connection = brokers.control.another(format!("member {}", subscription.member), heartbeat);
        let member = Arc::new(Self {
            subscription,
            names,
            connection,
            brokers,
            session: Mutex::default(),
            is_new: AtomicBool::new(false),
            group: Mutex::default(),
            epochs: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            lost_unsynced: LostUnsynced::default(),
            outlived: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            working: Mutex::default(),
            pace: Pace::default(),
            dead_letters: Mutex::default(),
            news: Mutex::default(),
            interrupted: Notify::new(),
        });
        member.open(OPERATION).await?;
        Ok(member)
    }

    /// A new session: one attempt. Whether the group's queue had to be made, by this one or by those before that failed.
    pub(crate) async fn open(self: &Arc<Self>, operation: &'static str) -> Result<bool> {
        let known = *self.group();
        let group = topology::group(
            &self.brokers.control,
            self.brokers.management.as_ref(),
            operation,
            self.brokers.control.config(),
            &self.names,
            self.subscription.create,
            known,
        )
        .await?;
        self.is_new.fetch_or(group.is_new, Ordering::SeqCst);
        *self.group() = Some(group);
        let unless_deleted = |error| match self.brokers.control.config().topology {
            Topology::Declare => unless_deleted(operation, error),
            Topology::Check | Topology::Expect => error,
        };
        // One that was made just now is none.
        let is_log = async || topology::is_log(&self.brokers.control, operation, &self.names.queue).await;
        if !group.is_new && is_log().await.map_err(unless_deleted)? {
            return Err(no_group(operation, &self.names.queue));
        }
        if native::is_on(&self.brokers) {
            self.find_dead_letters(operation).await.map_err(unless_deleted)?;
        }
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed) + 1;
        let prefetch = self.pace.first(&self.subscription, self.brokers.control.config());
        let tag = self.subscription.member.as_str();
        let opened = Session::open(&self.connection, operation, &self.names, tag, prefetch, epoch).await;
        let (session, questions) = opened.map_err(unless_deleted)?;
        let session = Arc::new(session);
        if let Some(questions) = questions {
            session.answer_by(Answering::begin(self, &session, questions));
        }
        *self.current() = Some(session);
        self.tell_outlived(operation, words::PATIENCE).await;
        Ok(self.is_new.swap(false, Ordering::SeqCst))
    }

    /// Finds out where the queue sends what it gives up. Where nobody can say that now, what was found out before holds.
    async fn find_dead_letters(&self, operation: &'static str) -> Result<()> {
        let found = native::find(&self.brokers, operation, &self.names).await;
        let mut known = self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(found) => *known = Some(found),
            Err(error) if known.is_some() && error.kind() != ErrorKind::Conflict => {
                tracing::debug!(%error, "the dead letter exchange is taken for what it was");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What the group was found to be last.
    pub(crate) fn group(&self) -> MutexGuard<'_, Option<Found>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the queue sends what it gives up, where that is not to the group's own dead letters.
    pub(crate) fn dead_letters(&self) -> Option<DeadLetterExchange> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The session, be it over.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.current().clone()
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session ended: what it held comes again, to whomever, and did not kill this member.
    pub(crate) fn lose(&self, session: &Arc<Session>) {
        let mut current = self.current();
        if !current.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            return;
        }
        *current = None;
        drop(current);
        self.note_unsynced(session);
        // Also what nobody fetched.
        session.look();
        let pardon = session.pardon();
        let (held, suspects) = (session.held(), session.suspects.held());
        let hints = held.iter().filter_map(|(_, held)| held.hint().map(Hint::innocent));
        let hints = hints.chain(suspects.values().filter_map(Suspect::hint));
        let unjudged = suspects.values().filter(|suspect| !suspect.is_judged()).cloned().collect();
        self.outlived().add(Outlived::new(hints, unjudged, pardon));
    }

    /// The next commit tells of what was settled in a session that is over, if it is not known to be durable.
    pub(crate) fn note_unsynced(&self, session: &Session) {
        if session.take_unsynced() {
            self.lost_unsynced.add();
        }
    }

    /// So many deliveries are acknowledged or given up.
    pub(crate) fn note_settled(&self, count: usize) {
        self.settled.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Has the next fetch tell it.
    pub(crate) fn tell(&self, event: Event) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        self.interrupted.notify_one();
    }

    /// What a fetch is to tell.
    pub(crate) fn next_news(&self) -> Option<Event> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Notes how long its user has had the oldest delivery.
    pub(crate) fn note_working(&self, oldest: Option<Duration>) {
        *self.working.lock().unwrap_or_else(PoisonError::into_inner) = oldest.map(|oldest| (oldest, Instant::now()));
    }

    /// How long its user has had the delivery that it works on longest, as was said last.
    pub(crate) fn working_for(&self) -> Option<Duration> {
        let working = *self.working.lock().unwrap_or_else(PoisonError::into_inner);
        working.map(|(oldest, said)| oldest + said.elapsed())
    }

    /// Makes sure that these queues beside the group's are there.
    pub(crate) async fn ensure(&self, operation: &'static str, queues: &BTreeSet<String>) -> Result<()> {
        for queue in queues.iter().filter(|queue| !self.brokers.mover.knows(queue)) {
            if *queue == self.names.dead {
                topology::dead(&self.brokers.control, operation, &self.names).await?;
            } else if *queue == self.names.suspects {
                topology::suspects(&self.brokers.control, operation, &self.names).await?;
            } else if *queue != self.names.queue {
                topology::retry(&self.brokers.control, operation, &self.names, queue).await?;
            }
            self.brokers.mover.learn(queue);
        }
        Ok(())
    }

    /// The error of what did not work in a session, which is over then.
    pub(crate) fn failed(
        &self,
        session: &Session,
        operation: &'static str,
        failure: crate::link::CallFailure,
    ) -> Error {
        session.give_up();
        // Whoever waits for what comes hears of it.
        self.interrupted.notify_one();
        self.connection.failed(&session.link, operation, failure)
    }
}
