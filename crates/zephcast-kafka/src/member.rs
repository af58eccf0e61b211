//! A member: joining, and what its two halves share with its poll thread.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::Notify;
use zephcast_core::driver::{LONGEST, Membership, Subscription};
use zephcast_core::{MemberName, Result};

use crate::KafkaConfig;
use crate::assignment::Assignment;
use crate::cluster::Cluster;
use crate::error::closed;
use crate::intake::KafkaIntake;
use crate::keeper::Keeper;
use crate::place::Place;
use crate::poll_thread;
use crate::producer::Producer;
use crate::settler::KafkaSettler;
use crate::start;
use crate::topics::Topics;

/// What both halves of a member and its poll thread share.
pub(crate) struct Member {
    pub(crate) config: Arc<KafkaConfig>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) producer: Arc<Producer>,
    pub(crate) topics: Topics,
    pub(crate) name: MemberName,
    pub(crate) lease: Duration,
    /// How many partitions the stream had at the beginning; a helper topic gets as many.
    pub(crate) partitions: u32,
    /// Where the group begins in partitions of which it has committed nothing, where that could not be committed at the
    /// beginning. Others are new, and read from their beginning.
    pub(crate) starts: HashMap<i32, Place>,
    assignment: Mutex<Assignment>,
    /// Wakes a fetch for what the poll thread found.
    pub(crate) arrived: Notify,
    /// Makes the keeper look which topic the stream is.
    pub(crate) look: Notify,
    /// Ends a fetch.
    pub(crate) interrupts: Notify,
    thread: OnceLock<Thread>,
}

impl Member {
    /// Joins: when this returns, the group and its start exist at the broker.
    pub(crate) async fn join(
        config: Arc<KafkaConfig>,
        cluster: Arc<Cluster>,
        producer: Arc<Producer>,
        partitions: u32,
        subscription: Subscription,
    ) -> Result<Membership> {
        let Subscription { stream, group, member: name, start, lease, .. } = &subscription;
        config.validate_member("join", name, *lease)?;
        let starts = start::anchor(&cluster, stream, group, *start).await?;
        let topics = cluster.topics_of(stream, group);
        let retries = cluster.described("join", &topics.retries()).await?;
        let retries = retries.into_keys().collect();
        let member = Self::begin(config, cluster, producer, partitions, subscription, starts, retries)?;
        let handle = Arc::new(Handle(member.clone()));
        let keeper = Keeper::start(member);
        Ok(Membership {
            intake: Box::new(KafkaIntake::new(handle.clone())),
            settler: Arc::new(KafkaSettler::new(handle, keeper)),
        })
    }

    /// A member with its poll thread, which is about to join.
    pub(crate) fn begin(
        config: Arc<KafkaConfig>,
        cluster: Arc<Cluster>,
        producer: Arc<Producer>,
        partitions: u32,
        subscription: Subscription,
        starts: HashMap<i32, Place>,
        mut subscribed: BTreeSet<String>,
    ) -> Result<Arc<Self>> {
        let Subscription { stream, group, member: name, lease, .. } = subscription;
        let topics = cluster.topics_of(&stream, &group);
        subscribed.insert(topics.stream.clone());
        let member = Arc::new(Self {
            config,
            cluster,
            producer,
            topics,
            name,
            lease: lease.min(LONGEST),
            partitions,
            starts,
            assignment: Mutex::new(Assignment::new(subscribed, lease)),
            arrived: Notify::new(),
            look: Notify::new(),
            interrupts: Notify::new(),
            thread: OnceLock::new(),
        });
        let thread = poll_thread::start(member.clone())?;
        member.thread.get_or_init(|| thread);
        Ok(member)
    }

    pub(crate) fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the poll thread look at what it has to do.
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// # Errors
    /// `Closed` once the client was closed.
    pub(crate) fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.cluster.is_closed() { Err(closed(operation)) } else { Ok(()) }
    }
}

/// What the two halves hold. Once both are gone, so is the member: uncleanly, unless it left before.
pub(crate) struct Handle(pub(crate) Arc<Member>);

impl std::ops::Deref for Handle {
    type Target = Arc<Member>;

    fn deref(&self) -> &Arc<Member> {
        &self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.assignment().abandon();
        self.0.wake();
    }
}
