//! What is settled, and how it is known that the broker has it.

use futures_util::future::poll_immediate;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::Session;
use super::unsynced::KEPT_BACK;
use super::window::PASSING;
use crate::inbox::ConsumerNumber;
use crate::link::CallFailure;

impl Session {
    /// Settles what is held up to this tag, by one frame, as far as everything there was read: up to which, and how many
    /// those were. It is on its way when this returns.
    pub(crate) async fn ack_up_to(&self, tag: u64) -> (u64, usize) {
        let _may_settle = self.settling.read().await;
        let (end, highest, count) = {
            let mut held = self.held();
            let (end, before) = (held.read_up_to(tag), held.len());
            let highest = held.remove_up_to(tag);
            (end, highest, before - held.len())
        };
        if let Some(tag) = highest {
            self.send(self.channel.basic_ack(tag, BasicAckOptions { multiple: true })).await;
        }
        (end, count)
    }

    /// Settles this one, if it is held: the server closes the channel for a tag that it does not know. Whether it was.
    pub(crate) async fn ack(&self, tag: u64) -> bool {
        let _may_settle = self.settling.read().await;
        let was_held = self.let_go(tag);
        if was_held {
            self.send(self.channel.basic_ack(tag, BasicAckOptions { multiple: false })).await;
        }
        was_held
    }

    /// Gives this one back to the queue before its user has settled it, if it is held. Whether it was.
    pub(crate) async fn take_back(&self, tag: u64) -> bool {
        let _may_settle = self.settling.read().await;
        let was_held = {
            let mut held = self.held();
            let was_held = held.remove(tag).is_some();
            if was_held {
                // Known to whoever finds that it is not held.
                self.taken_back.add(tag);
            }
            was_held
        };
        if was_held {
            self.requeue(tag).await;
        }
        was_held
    }

    /// Gives this one back to the queue, if it is held. Whether it was.
    pub(crate) async fn give_back(&self, tag: u64) -> bool {
        let _may_settle = self.settling.read().await;
        let was_held = self.let_go(tag);
        if was_held {
            self.requeue(tag).await;
        }
        was_held
    }

    async fn requeue(&self, tag: u64) {
        self.send(self.channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true })).await;
    }

    /// Has the queue give this one up, to its dead letter exchange, if it is held.
    pub(crate) async fn reject(&self, tag: u64) {
        let _may_settle = self.settling.read().await;
        if self.let_go(tag) {
            self.send(self.channel.basic_reject(tag, BasicRejectOptions { requeue: false })).await;
        }
    }

    fn let_go(&self, tag: u64) -> bool {
        self.held().remove(tag).is_some()
    }

    async fn send(&self, settlement: impl Future<Output = lapin::Result<()>>) {
        self.unsynced.add();
        // The first poll queues the frame; that a connection ended is found out by the next synchronous call.
        let _ = poll_immediate(settlement).await;
    }

    /// Whether the broker had yet to say that it has everything. Asked once: whoever asks tells it.
    pub(crate) fn take_unsynced(&self) -> bool {
        // Both are.
        self.unsynced.take() | self.suspects.unsynced.take()
    }

    /// As [`take_unsynced`](Self::take_unsynced), by who only wants to know.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced.are_there() || self.suspects.unsynced.are_there()
    }

    /// Waits until what was settled outlives the server.
    ///
    /// That the server answers a later call of the channel says no more than that it has read the settlements: they
    /// are on their way to the queue's log still, and were seen to come again after a crash. What passes through the log
    /// itself, as a new consumer does, is behind them. A classic queue has no log, and writes settlements down later.
    pub(crate) async fn sync(&self) -> Result<(), CallFailure> {
        self.sync_messages().await?;
        self.suspects.sync().await
    }

    /// As [`sync`](Self::sync), but for suspects.
    pub(crate) async fn sync_messages(&self) -> Result<(), CallFailure> {
        let syncing = self.unsynced.begin().await;
        for _ in 0..syncing.passes() {
            self.pass_through_log().await?;
        }
        syncing.done();
        Ok(())
    }

    /// Subscribes once more and takes it back. What that consumer is given, which is little since others come first, is
    /// this member's as anything on its channel.
    async fn pass_through_log(&self) -> Result<(), CallFailure> {
        let _gate = self.gate.lock().await;
        if self.is_exclusive {
            // Nobody else may consume, this member neither. Such a queue is a classic one, and has no log.
            return self.link.answer(self.channel.basic_qos(1, BasicQosOptions::default())).await;
        }
        // Always the same tag: the server gives one message at most to it, also over several of these.
        let tag = ShortString::from("~sync");
        let mut arguments = FieldTable::default();
        arguments.insert(ShortString::from("x-priority"), AMQPValue::LongInt(i32::MIN));
        let options = BasicConsumeOptions::default();
        let consumed = self.channel.basic_consume(self.queue.clone(), tag.clone(), options, arguments);
        let changing = self.changing();
        let mut passing = self.link.answer(consumed).await?;
        self.link.answer(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
        // What came by others before that.
        self.look();
        while let Some(Some(Ok(delivery))) = passing.next().now_or_never() {
            self.inbox.put(self.arrive(PASSING, delivery));
        }
        changing.done();
        Ok(())
    }

    /// Sends back first what would come after newer messages otherwise: the server gives back consumer by consumer, and what
    /// came by one that only passed through lies between the others'. With too much before it, it comes last.
    ///
    /// Only then the member takes no more before its channel closes: what is on its way to a consumer that is cancelled goes
    /// back at once, before anything that it holds.
    pub(crate) async fn give_back_in_order(&self) -> Result<(), CallFailure> {
        let tags: Vec<(u64, ConsumerNumber)> = self.held().iter().map(|(tag, held)| (tag, held.consumer)).collect();
        let first = tags.iter().rposition(|(_, consumer)| *consumer == PASSING).map_or(0, |last| last + 1);
        // The server keeps back what is more, and forgets its order.
        if first == 0 || first as u64 > KEPT_BACK {
            return Ok(());
        }
        self.cancel().await?;
        for (tag, _) in tags.into_iter().take(first) {
            self.give_back(tag).await;
        }
        Ok(())
    }
}
