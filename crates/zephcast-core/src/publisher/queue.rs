//! What waits to be sent, already in the batches in which it goes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::message::IdSource;
use crate::{Message, MessageId};

use super::answers::{Answers, Duty};

/// Messages of one call to the driver.
pub(super) const BATCH: usize = 512;

/// Messages in order, what is noted of each, and who is to answer them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) messages: Vec<Message>,
    pub(super) notes: Vec<Note>,
    pub(super) duty: Duty,
}

/// What is noted of a message until it has its answer.
#[derive(Debug)]
pub(super) struct Note {
    /// Bytes of room that it takes.
    pub(super) size: u32,
    /// Its place among the answers.
    pub(super) place: u32,
    pub(super) deadline: Instant,
}

/// Filled by publishers, emptied by the worker.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Signalled when there is as much as the worker waits for, or the end.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    ids: IdSource,
    batches: VecDeque<Batch>,
    count: usize,
    /// How many messages the worker waits for; nothing is signalled before.
    wanted: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        let state =
            State { ids: IdSource::new(), batches: VecDeque::new(), count: 0, wanted: usize::MAX, closed: false };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Adds a message; its id and where its answer will be. `None` when nothing is sent any more.
    pub(super) fn push(
        &self,
        mut message: Message,
        size: u32,
        deadline: Instant,
    ) -> Option<(MessageId, Arc<Answers>, u32)> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return None;
        }
        let id = state.ids.assign(&mut message);
        if state.batches.back().is_none_or(|batch| batch.messages.len() == BATCH) {
            state.batches.push_back(Batch::default());
        }
        let batch = state.batches.back_mut()?;
        let place = batch.messages.len() as u32;
        batch.messages.push(message);
        batch.notes.push(Note { size, place, deadline });
        let answers = batch.duty.answers().clone();
        state.count += 1;
        if state.count >= state.wanted {
            state.wanted = usize::MAX;
            self.changed.notify_one();
        }
        Some((id, answers, place))
    }

    /// The next batch, once so many messages wait; or `None` when nothing comes any more.
    pub(super) async fn pop(&self, wanted: usize) -> Option<Batch> {
        loop {
            {
                let mut state = self.lock();
                if state.count >= wanted || state.closed {
                    let batch = state.batches.pop_front();
                    state.count -= batch.as_ref().map_or(0, |batch| batch.messages.len());
                    return batch;
                }
                state.wanted = wanted;
            }
            self.changed.notified().await;
        }
    }

    /// Lets nothing more in.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// The worker is gone: nothing of this is sent.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.batches);
        state.count = 0;
        drop(state);
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
