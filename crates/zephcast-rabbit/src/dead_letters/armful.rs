//! What one channel of a look takes, and holds until it is closed.
//!
//! Letters come by consumers, many with one call; as many as were ready when it began. None is got without a consumer: since
//! 4.0 the server would give it back behind all those of consumers. A consumer is given no more than its prefetch as long
//! as nothing is settled, and the client library reads whatever the server sends: so a prefetch is what bounds the memory
//! of letters that are on their way. When a consumer has its fill, the next one goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use zephcast_core::Result;

use super::OPERATION;
use crate::brokers::Brokers;
use crate::errand::Errand;
use crate::error::code;
use crate::link::CallFailure;
use crate::names::Names;
use crate::session::KEPT_BACK;
use crate::topology;

/// How much one channel takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// So many consumers take letters on one channel. When it is closed, the server gives back what they have consumer by
    /// consumer: in the order of their tags, or since 4.0 of their beginnings, as long as there are at most 32.
    pub(super) consumers: usize,
    /// The largest prefetch. The first consumer takes one letter, and each next one four times as many, as the sizes of the
    /// letters allow.
    pub(super) many: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self { consumers: 32, many: 1024 }
    }
}

/// So many bytes of letters may be on their way, as far as can be foreseen from the largest that came last.
const BYTES: usize = 16 * 1024 * 1024;

/// When nothing came for so long, the server is asked whether anything is on its way.
const SILENCE: Duration = Duration::from_secs(1);

/// One channel, and what was taken on it.
pub(super) struct Armful<'a> {
    limits: Limits,
    queue: ShortString,
    errand: Errand<'a>,
    /// How many were ready when it began, and did not come yet.
    left: u64,
    /// The consumer that takes letters for now.
    consumer: Option<Filling>,
    /// How many consumers there were.
    consumers: usize,
    /// The prefetch of the next one.
    room: u16,
    /// What each consumer took and was not settled, by the tag of its first letter.
    held: BTreeMap<u64, Held>,
    /// What was settled last, and is to be acked last.
    last: Option<u64>,
    /// How many acks were sent of which it is not known that the queue has them.
    acks: u64,
}

/// What a consumer has, also one that takes no more.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Of the consumer.
    number: usize,
    letters: u64,
}

/// A consumer, and what it has.
struct Filling {
    consumer: Consumer,
    number: usize,
    /// The prefetch.
    room: u16,
    /// How many letters it has that are not settled.
    held: u16,
    /// The tag of the first one.
    first: Option<u64>,
    largest: usize,
}

impl<'a> Armful<'a> {
    /// Begins with a first letter; none where there is none, or no queue.
    pub(super) async fn begin(brokers: &'a Brokers, names: &Names, limits: Limits) -> Result<Option<(Self, Delivery)>> {
        let Some((left, _)) =
            topology::queue(&brokers.control, OPERATION, &names.dead).await?.filter(|(left, _)| *left > 0)
        else {
            return Ok(None);
        };
        let errand = Errand::begin(&brokers.control, OPERATION).await?;
        let queue = ShortString::from(names.dead.as_str());
        let mut armful = Self {
            limits,
            queue,
            errand,
            left,
            consumer: None,
            consumers: 0,
            room: 1,
            held: BTreeMap::new(),
            last: None,
            acks: 0,
        };
        match armful.next(1).await? {
            Some(first) => Ok(Some((armful, first))),
            None => armful.end().await.map(|()| None),
        }
    }

    /// How many were ready when it began, and did not come yet.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// How many letters were taken and not settled.
    pub(super) fn taken(&self) -> u64 {
        self.held.values().map(|held| held.letters).sum()
    }

    /// The next one that was ready when it began. None when all of them came, when others have the rest, or when it is
    /// full. Takes no more at once than so many, which the caller may have a use for.
    pub(super) async fn next(&mut self, most: usize) -> Result<Option<Delivery>> {
        if self.left == 0 || !self.has_room(most).await? {
            return self.stop().await.map(|()| None);
        }
        let Some(delivery) = self.delivered().await? else {
            self.left = 0;
            return self.stop().await.map(|()| None);
        };
        self.left -= 1;
        if let Some(filling) = &mut self.consumer {
            filling.held += 1;
            let first = *filling.first.get_or_insert(delivery.delivery_tag);
            self.held.entry(first).or_insert(Held { number: filling.number, letters: 0 }).letters += 1;
            filling.largest = filling.largest.max(delivery.data.len());
        }
        Ok(Some(delivery))
    }

    /// Whether nothing is on its way.
    pub(super) fn rests(&self) -> bool {
        self.consumer.as_ref().is_none_or(|filling| filling.held >= filling.room)
    }

    /// Settles a letter: the one before it is acked, and this one held until the next or [`flush`](Self::flush), so that there
    /// is always one that is held. That it arrived is certain when [`end`](Self::end) returns. While the channel rests, no
    /// other comes in its place.
    pub(super) async fn settle(&mut self, tag: u64) -> Result<()> {
        if self.rests() {
            self.stop().await?;
        }
        match self.last.replace(tag) {
            Some(before) => {
                if self.acks >= KEPT_BACK {
                    self.wait_for_acks().await?;
                }
                self.ack(before).await
            }
            None => Ok(()),
        }
    }

    async fn ack(&mut self, tag: u64) -> Result<()> {
        if let Some((_, held)) = self.held.range_mut(..=tag).next_back() {
            held.letters -= 1;
        }
        if let Some(filling) = self.consumer.as_mut().filter(|filling| filling.first.is_some_and(|first| tag >= first))
        {
            filling.held -= 1;
        }
        self.acks += 1;
        self.errand.call(self.errand.channel().basic_ack(tag, BasicAckOptions::default())).await
    }

    /// Takes no more.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let Some(Filling { consumer, room, largest, .. }) = self.consumer.take() else { return Ok(()) };
        self.room = self.limits.next_room(room, largest);
        if !self.errand.channel().status().connected() {
            return Ok(());
        }
        self.errand.call(self.errand.channel().basic_cancel(consumer.tag(), BasicCancelOptions::default())).await
    }

    /// Closes the channel: what was not settled goes back.
    pub(super) async fn end(&mut self) -> Result<()> {
        self.errand.end().await
    }

    /// Acks the last letter, once the queue has all other acks.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.last.is_none() || !self.errand.channel().status().connected() {
            return Ok(());
        }
        self.wait_for_acks().await?;
        match self.last.take() {
            Some(last) => self.ack(last).await,
            None => Ok(()),
        }
    }

    /// Waits until the queue has all acks: an answer of the queue shows that all before it arrived, if none was [kept
    /// back](KEPT_BACK). What is kept back when the channel is closed is forgotten; and when the answer lets go of it, a consumer
    /// is given letters for it, for which a server before 4.0 has no way.
    ///
    /// It is had by a consumer that holds letters and begins again with room for one: it has its fill, and no other is
    /// taken, which would go back behind all that was looked at.
    async fn wait_for_acks(&mut self) -> Result<()> {
        self.stop().await?;
        let holder = self.held.values().find(|held| held.letters > 0).map(|held| name(held.number));
        if let Some(tag) = holder
            && let Some(consumer) = self.consume(&tag, 1).await?
        {
            let cancelled = self.errand.channel().basic_cancel(consumer.tag(), BasicCancelOptions::default());
            self.errand.call(cancelled).await?;
        }
        self.acks = 0;
        Ok(())
    }

    /// Makes sure that there is a consumer that takes more; none when there were enough of them.
    async fn has_room(&mut self, most: usize) -> Result<bool> {
        if self.consumer.is_some() && !self.rests() {
            return Ok(true);
        }
        if self.consumers == self.limits.consumers {
            return Ok(false);
        }
        // It has all it may have, so that nothing is on its way that would be dropped with it.
        self.stop().await?;
        let room = self.room.min(u16::try_from(most).unwrap_or(u16::MAX)).max(1);
        let number = self.consumers;
        let consumer = self.consume(&name(number), room).await?;
        self.consumers += 1;
        self.consumer = consumer.map(|consumer| Filling { consumer, number, room, held: 0, first: None, largest: 0 });
        Ok(self.consumer.is_some())
    }

    /// None where the queue is gone.
    async fn consume(&self, tag: &str, room: u16) -> Result<Option<Consumer>> {
        let channel = self.errand.channel();
        self.errand.call(channel.basic_qos(room, BasicQosOptions::default())).await?;
        let options = BasicConsumeOptions::default();
        let consumed = channel.basic_consume(self.queue.clone(), tag.into(), options, FieldTable::default());
        match self.errand.try_call(consumed).await {
            Ok(consumer) => Ok(Some(consumer)),
            Err(failure) if failure.has_code(code::NOT_FOUND) => Ok(None),
            Err(failure) => Err(self.errand.failed(failure)),
        }
    }

    /// What comes next. None when nothing does: somebody else has the rest, or the queue was deleted.
    async fn delivered(&mut self) -> Result<Option<Delivery>> {
        let Some(Filling { consumer, room, .. }) = &mut self.consumer else { return Ok(None) };
        let next = async { consumer.next().await.transpose() };
        match self.errand.try_call_within(SILENCE, next).await {
            Ok(next) => return Ok(next),
            Err(CallFailure::Late) => {}
            Err(failure) => return Err(self.errand.failed(failure)),
        }
        // Answered after all that was sent before, however long that takes.
        self.errand.call(self.errand.channel().basic_qos(*room, BasicQosOptions::default())).await?;
        match poll_immediate(consumer.next()).await.flatten().transpose() {
            Ok(next) => Ok(next),
            Err(source) => Err(self.errand.failed(CallFailure::Said(source))),
        }
    }
}

impl Limits {
    /// The prefetch after one that brought letters of at most this size.
    fn next_room(&self, room: u16, largest: usize) -> u16 {
        room.saturating_mul(4).min(self.many).min(fitting(largest)).max(1)
    }
}

/// The tag of a consumer: they are in order.
fn name(number: usize) -> String {
    format!("takes-{number:02}")
}

/// So many letters of this size may be on their way.
fn fitting(size: usize) -> u16 {
    u16::try_from(BYTES / size.max(1)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_consumer_takes_more_as_long_as_that_fits_into_memory() {
        let limits = Limits::default();
        assert_eq!([16, 64, 256, 1024].map(|room| limits.next_room(room, 100)), [64, 256, 1024, 1024]);
        assert_eq!(limits.next_room(1024, 1024 * 1024), 16);
        assert_eq!(limits.next_room(16, 1024 * 1024), 16, "so it stays");
        assert_eq!(limits.next_room(16, 1_000), 64, "and grows again once they are small");
        assert_eq!(limits.next_room(1024, 2 * BYTES), 1);
        assert_eq!(limits.next_room(1, 0), 4);
    }
}
