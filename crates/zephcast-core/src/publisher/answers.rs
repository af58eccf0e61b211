//! Where the answers to a batch wait for those who asked: one allocation and one lock for all of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{Position, PublishError};

/// The broker's answer for one message.
pub(super) type Stored = Result<Option<Position>, PublishError>;

/// The answers to one batch. Written by the worker, each read once by its receipt.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    /// By place in the batch; as long as the last place that somebody looked at or answered.
    slots: Vec<Slot>,
    /// Nothing more will be answered.
    over: bool,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Nothing,
    Waiting(Waker),
    Answered(Stored),
}

impl Answers {
    /// The answer at a place: `None` when there will be none.
    pub(super) fn poll(&self, place: usize, cx: &mut Context<'_>) -> Poll<Option<Stored>> {
        let mut slots = self.lock();
        let over = slots.over;
        let slot = slots.at(place);
        match slot {
            Slot::Answered(_) => {
                let Slot::Answered(stored) = std::mem::take(slot) else { return Poll::Pending };
                Poll::Ready(Some(stored))
            }
            _ if over => Poll::Ready(None),
            Slot::Waiting(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            Slot::Nothing => {
                *slot = Slot::Waiting(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn at(&mut self, place: usize) -> &mut Slot {
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, Slot::default);
        }
        &mut self.slots[place]
    }
}

/// The duty to answer a batch. When it is dropped, whoever still waits learns that nobody answers.
#[derive(Debug, Default)]
pub(super) struct Duty(Arc<Answers>);

impl Duty {
    pub(super) fn answers(&self) -> &Arc<Answers> {
        &self.0
    }

    /// Answers for places of the batch, and then wakes who waits for them.
    pub(super) fn answer(&self, answers: impl IntoIterator<Item = (usize, Stored)>) {
        let mut wakers = Vec::new();
        let mut slots = self.0.lock();
        for (place, stored) in answers {
            if let Slot::Waiting(waker) = std::mem::replace(slots.at(place), Slot::Answered(stored)) {
                wakers.push(waker);
            }
        }
        drop(slots);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        let mut slots = self.0.lock();
        slots.over = true;
        let wakers: Vec<Waker> = slots
            .slots
            .iter_mut()
            .filter(|slot| matches!(slot, Slot::Waiting(_)))
            .filter_map(|slot| match std::mem::take(slot) {
                Slot::Waiting(waker) => Some(waker),
                _ => None,
            })
            .collect();
        drop(slots);
        wakers.into_iter().for_each(Waker::wake);
    }
}
