//! A look at the dead letters: takes one after the other, without settling them.

use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::time::Instant;
use zephcast_core::Result;

use super::OPERATION;
use super::armful::{Armful, Limits};
use crate::brokers::Brokers;
use crate::errand::Errand;
use crate::error::code;
use crate::names::Names;

/// It holds every letter that it saw and that was not settled, so that the next one comes. Of these the server holds the
/// bytes, and this side nothing.
pub(super) struct Look<'a> {
    brokers: &'a Brokers,
    names: &'a Names,
    limits: Limits,
    /// How many of those that were ready at the beginning did not come yet; known once there is a first armful. Others
    /// may come for as long as they like: they are for the next look.
    left: Option<u64>,
    /// In the order of their letters. The last one takes what comes next.
    armfuls: Vec<Armful<'a>>,
}

/// A letter that was taken: on which channel, and by which tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    armful: usize,
    tag: u64,
}

impl<'a> Look<'a> {
    pub(super) fn open(brokers: &'a Brokers, names: &'a Names) -> Self {
        Self::within(Limits::default(), brokers, names)
    }

    pub(super) fn within(limits: Limits, brokers: &'a Brokers, names: &'a Names) -> Self {
        Self { brokers, names, limits, left: None, armfuls: Vec::new() }
    }

    /// The next one of those that were there when the first one was taken; none at the end, or where there is no queue.
    pub(super) async fn next(&mut self) -> Result<Option<Delivery>> {
        self.next_of(usize::MAX).await
    }

    /// As [`next`](Self::next), by who can do with so many: as few others as possible are taken along.
    pub(super) async fn next_of(&mut self, most: usize) -> Result<Option<Delivery>> {
        let left = self.left.unwrap_or(u64::MAX);
        let most = most.min(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some(armful) = self.armfuls.last_mut() {
            if left == 0 {
                return armful.stop().await.map(|()| None);
            }
            if let Some(delivery) = armful.next(most).await? {
                self.left = Some(left - 1);
                return Ok(Some(delivery));
            }
        }
        let Some((armful, first)) = Armful::begin(self.brokers, self.names, self.limits).await? else {
            return Ok(None);
        };
        self.left = Some(self.left.map_or(armful.left(), |left| left - 1));
        self.armfuls.push(armful);
        Ok(Some(first))
    }

    /// How to settle the one that came last, by its tag.
    pub(super) fn taken(&self, tag: u64) -> Taken {
        Taken { armful: self.armfuls.len().saturating_sub(1), tag }
    }

    /// Whether nothing is on its way: then nothing comes in the place of what is settled.
    pub(super) fn rests(&self) -> bool {
        self.armfuls.last().is_none_or(Armful::rests)
    }

    pub(super) async fn settle(&mut self, Taken { armful, tag }: Taken) -> Result<()> {
        self.armfuls[armful].settle(tag).await
    }

    /// What was not settled is back in the queue when this returns, in its order. It is behind what was returned before and
    /// not taken now: the server keeps what is returned apart, and gives it out first.
    pub(super) async fn close(self) -> Result<()> {
        let Self { brokers, names, mut armfuls, left, .. } = self;
        // Otherwise one of them would take what another gives back.
        for armful in &mut armfuls {
            armful.stop().await?;
        }
        for armful in &mut armfuls {
            armful.flush().await?;
        }
        // Those that did not come are there already.
        let mut ready = left.unwrap_or(0);
        for mut armful in armfuls {
            armful.end().await?;
            ready += armful.taken();
            if armful.taken() > 0 {
                settle_down(brokers, names, ready).await?;
            }
        }
        Ok(())
    }
}

/// Waits, for a moment, until so many are counted as ready: a channel is closed before the queue's log has what it held.
async fn settle_down(brokers: &Brokers, names: &Names, ready: u64) -> Result<()> {
    const MOMENT: Duration = Duration::from_secs(5);
    const AGAIN: Duration = Duration::from_millis(2);
    let until = Instant::now() + MOMENT;
    let errand = Errand::begin(&brokers.control, OPERATION).await?;
    while Instant::now() < until {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = errand.channel().queue_declare(names.dead.as_str().into(), options, FieldTable::default());
        match errand.try_call(asked).await {
            Ok(queue) if u64::from(queue.message_count()) >= ready => break,
            // There is no word of it to wait for.
            Ok(_) => tokio::time::sleep(AGAIN).await,
            // Nor is there anything to wait for.
            Err(failure) if failure.has_code(code::NOT_FOUND) => return Ok(()),
            Err(failure) => return Err(errand.failed(failure)),
        }
    }
    errand.end().await
}
