//! What is settled, and how it is known that the broker has it.

use std::sync::atomic::Ordering;

use futures_util::future::poll_immediate;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::Session;
use super::window::PASSING;
use crate::inbox::ConsumerNumber;
use crate::link::CallFailure;

/// So many settlements may be on their way: with more than 32 unanswered the server keeps back the rest until the queue's log
/// has some of them.
const KEPT_BACK: u64 = 24;

impl Session {
    /// Settles everything up to this tag, or this tag alone. It is on its way when this returns.
    pub(crate) async fn ack(&self, tag: u64, multiple: bool) {
        let _may_settle = self.settling.read().await;
        self.unsynced.fetch_add(1, Ordering::SeqCst);
        // The first poll queues the frame; that a connection ended is found out by the next synchronous call.
        let _ = poll_immediate(self.channel.basic_ack(tag, BasicAckOptions { multiple })).await;
    }

    pub(crate) async fn ack_suspect(&self, tag: u64) {
        self.suspects_unsynced.fetch_add(1, Ordering::SeqCst);
        let _ = poll_immediate(self.suspects.basic_ack(tag, BasicAckOptions { multiple: false })).await;
    }

    /// Gives one message back to the queue.
    pub(crate) async fn give_back(&self, tag: u64) {
        let _may_settle = self.settling.read().await;
        self.unsynced.fetch_add(1, Ordering::SeqCst);
        let options = BasicNackOptions { multiple: false, requeue: true };
        let _ = poll_immediate(self.channel.basic_nack(tag, options)).await;
    }

    /// Has the queue give one message up, to its dead letter exchange.
    pub(crate) async fn reject(&self, tag: u64) {
        let _may_settle = self.settling.read().await;
        self.unsynced.fetch_add(1, Ordering::SeqCst);
        let _ = poll_immediate(self.channel.basic_reject(tag, BasicRejectOptions { requeue: false })).await;
    }

    /// Whether the broker has yet to say that it has everything.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced.load(Ordering::SeqCst) > 0 || self.suspects_unsynced.load(Ordering::SeqCst) > 0
    }

    /// Waits until what was settled outlives the server.
    ///
    /// That the server answers a later call of the channel says no more than that it has read the settlements: they
    /// are on their way to the queue's log still, and were seen to come again after a crash. What passes through the log
    /// itself, as a new consumer does, is behind them.
    pub(crate) async fn sync(&self) -> Result<(), CallFailure> {
        let _one_at_a_time = self.syncing.lock().await;
        let sent = self.unsynced.load(Ordering::SeqCst);
        for _ in 0..(u8::from(sent > 0) + u8::from(sent > KEPT_BACK)) {
            self.pass_through_log().await?;
        }
        self.unsynced.fetch_sub(sent, Ordering::SeqCst);
        let suspects = self.suspects_unsynced.load(Ordering::SeqCst);
        if suspects > 0 {
            // A consumer would be given the next suspect, which would count as delivered.
            self.link.answer(self.suspects.basic_qos(1, BasicQosOptions::default())).await?;
        }
        self.suspects_unsynced.fetch_sub(suspects, Ordering::SeqCst);
        Ok(())
    }

    /// Subscribes once more and takes it back. What that consumer is given, which is little since others come first, is
    /// this member's as anything on its channel.
    async fn pass_through_log(&self) -> Result<(), CallFailure> {
        let _gate = self.gate.lock().await;
        if self.is_exclusive {
            // Nobody else may consume, this member neither.
            return self.link.answer(self.channel.basic_qos(1, BasicQosOptions::default())).await;
        }
        // Always the same tag: the server gives one message at most to it, also over several of these.
        let tag = ShortString::from("~sync");
        let mut arguments = FieldTable::default();
        arguments.insert(ShortString::from("x-priority"), AMQPValue::LongInt(i32::MIN));
        let options = BasicConsumeOptions::default();
        let consumed = self.channel.basic_consume(self.queue.clone(), tag.clone(), options, arguments);
        let mut passing = self.link.answer(consumed).await?;
        self.link.answer(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        while let Some(Some(Ok(delivery))) = passing.next().now_or_never() {
            self.inbox.put(self.arrive(PASSING, delivery));
        }
        Ok(())
    }

    /// Sends back first what would come after newer messages otherwise: the server gives back consumer by consumer, and what
    /// came by one that only passed through lies between the others'. With too much before it, it comes last.
    pub(crate) async fn give_back_in_order(&self) {
        let tags: Vec<(u64, ConsumerNumber)> = self.held().iter().map(|(tag, held)| (tag, held.consumer)).collect();
        let first = tags.iter().rposition(|(_, consumer)| *consumer == PASSING).map_or(0, |last| last + 1);
        // The server keeps back what is more, and forgets its order.
        if first as u64 > KEPT_BACK {
            return;
        }
        for (tag, _) in tags.into_iter().take(first) {
            self.give_back(tag).await;
        }
    }
}
