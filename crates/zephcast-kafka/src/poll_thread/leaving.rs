//! How a consumer leaves its group and ends.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use tracing::subscriber::NoSubscriber;

use super::Poller;
use crate::config::GroupProtocol;
use crate::native::is_known;

/// How long a closing consumer is polled for at a time.
const CLOSING: Duration = Duration::from_millis(5);
/// How long a member that was never heard of by its group waits for the group's first word.
const FIRST_WORD: Duration = Duration::from_secs(1);

impl Poller {
    /// Leaves the group and lets the consumer go. Without an end while the broker is frozen: then this thread stays behind.
    pub(super) fn end(self) {
        self.close();
        // What the library's Rust client drops it closes again, and tells as an error that this cannot be.
        tracing::subscriber::with_default(NoSubscriber::default(), || drop(self));
    }

    fn close(&self) {
        let began = Instant::now();
        self.take_leave();
        match self.consumer.close_queue() {
            Ok(()) => {
                while !self.consumer.closed() {
                    drop(self.consumer.poll(CLOSING));
                }
            }
            // After a fatal error there is nothing to wait for.
            Err(error) => tracing::debug!(%error, "the consumer is dropped as it is"),
        }
        // Before its consumer, which dropping the poller ends.
        self.consumer.context().close_queues();
        let (stream, member) = (&self.member.topics.stream, &self.member.name);
        tracing::debug!(elapsed = ?began.elapsed(), %stream, %member, "the consumer is closed");
    }

    /// Tells a classic group that a member leaves which has no partition, where closing the consumer would not, so that the
    /// others waited for its session to run out. A static member is not to tell: it may be back.
    fn take_leave(&self) {
        let config = &self.member.config;
        let owns_nothing = self.consumer.assignment().is_ok_and(|owned| owned.count() == 0);
        if config.group_protocol == GroupProtocol::Consumer || config.static_membership || !owns_nothing {
            return;
        }
        // One that has asked for its id and not got it has nothing to tell with, and is waited for all the same.
        self.poll_until(FIRST_WORD, |poller| {
            let is_away = poller.member.assignment().is_away();
            is_away || is_known(&poller.consumer)
        });
        if config.group_protocol == GroupProtocol::Classic {
            // Closing forgets to tell by the cooperative protocol (`rd_kafka_cgrp_revoke_all_rejoin`, librdkafka 2.12.1).
            // Unsubscribing does not, but is put off while the group is about to distribute.
            self.consumer.unsubscribe();
            // Who leaves gives its id back. After a lease the group has forgotten it.
            self.poll_until(self.member.lease, |poller| !is_known(&poller.consumer));
        }
    }

    fn poll_until(&self, limit: Duration, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + limit;
        while !is_so(self) && Instant::now() < until {
            drop(self.consumer.poll(CLOSING));
        }
    }
}
