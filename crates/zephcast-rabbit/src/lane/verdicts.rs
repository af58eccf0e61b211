//! Which confirm means what, with messages in between that no queue took.
//!
//! The server returns a message before it confirms it. The client library keeps returned messages in a queue and gives the
//! oldest one to each confirm that completes, whosesoever it is. So a confirm that completes with nothing says that the
//! queue was empty, and that the own message, if it was returned, was given to a confirm that completed before; and one
//! that completes with another's message says nothing of its own until the queue has been empty once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::types::LongString;
use lapin::{BasicProperties, Confirmation, Error as LapinError};

use super::{Fault, Outgoing, Place};
use crate::error::largest_message;
use crate::properties::ID;

/// Tells messages of one channel apart. Two with the same routing key and the same id share one, and their fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark(u64);

impl Mark {
    pub(super) fn of(message: &Outgoing) -> Self {
        Self::new(message.exchange.as_str(), message.routing_key.as_str(), &message.properties)
    }

    fn new(exchange: &str, routing_key: &str, properties: &BasicProperties) -> Self {
        let mut hasher = DefaultHasher::new();
        let id = properties.message_id().as_ref().map(|id| id.as_str().as_bytes());
        let header = || properties.headers().as_ref()?.inner().get(ID)?.as_long_string().map(LongString::as_bytes);
        (exchange, routing_key, id.or_else(header)).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Verdict {
    Ack,
    Nack,
    Returned,
    NotSent,
    /// The server closed the channel because of it.
    Bad(LapinError),
    Failed(LapinError),
}

/// What is known of messages that are not decided.
pub(super) struct Verdicts {
    undecided: HashMap<Place, Published>,
    /// The largest message that the server takes, as soon as it has said so.
    limit: Arc<AtomicUsize>,
    /// The message because of which the server closed the channel, where it said enough.
    culprit: Option<Place>,
    /// Completed since the last sweep, with whether the queue of returned messages was empty then.
    completed: Vec<(Place, Verdict, bool)>,
    /// Completed with another's message.
    held: Vec<(Place, Verdict)>,
    /// Returned, and not matched by a confirm yet.
    returned: HashMap<Mark, usize>,
}

#[derive(Clone, Copy)]
struct Published {
    mark: Mark,
    bytes: usize,
}

impl Verdicts {
    pub(super) fn new(limit: Arc<AtomicUsize>) -> Self {
        Self {
            undecided: HashMap::new(),
            limit,
            culprit: None,
            completed: Vec::new(),
            held: Vec::new(),
            returned: HashMap::new(),
        }
    }

    pub(super) fn published(&mut self, place: Place, message: &Outgoing) {
        self.undecided.insert(place, Published { mark: Mark::of(message), bytes: message.payload.len() });
    }

    pub(super) fn completed(&mut self, place: Place, confirmed: Result<Confirmation, Fault>) {
        let (verdict, returned) = match confirmed {
            Ok(Confirmation::Ack(returned)) => (Verdict::Ack, returned),
            Ok(Confirmation::Nack(returned)) => (Verdict::Nack, returned),
            // Cannot be: the channel confirms.
            Ok(Confirmation::NotRequested) => (Verdict::Nack, None),
            Err(Fault::NotSent) => (Verdict::NotSent, None),
            Err(Fault::Failed(source)) => (self.failed(place, source), None),
        };
        let was_empty = returned.is_none();
        if let Some(returned) = returned {
            let mark = Mark::new(returned.exchange.as_str(), returned.routing_key.as_str(), &returned.properties);
            *self.returned.entry(mark).or_default() += 1;
        }
        self.completed.push((place, verdict, was_empty));
    }

    /// The server reads messages in order: what came after the one that it closed the channel for it has passed over.
    fn failed(&mut self, place: Place, source: LapinError) -> Verdict {
        if let Some(limit) = largest_message(&source) {
            self.limit.fetch_min(limit, Ordering::Relaxed);
            if self.culprit.is_none() {
                let larger = self.undecided.iter().filter(|(_, published)| published.bytes > limit);
                self.culprit = larger.map(|(place, _)| *place).min();
            }
        }
        match self.culprit.map(|culprit| place.cmp(&culprit)) {
            Some(std::cmp::Ordering::Equal) => Verdict::Bad(source),
            Some(std::cmp::Ordering::Greater) => Verdict::NotSent,
            Some(std::cmp::Ordering::Less) | None => Verdict::Failed(source),
        }
    }

    /// As [`completed`](Self::completed), of a message that was the only one on its way.
    pub(super) fn completed_alone(&mut self, place: Place, confirmed: Result<Confirmation, Fault>) {
        match confirmed {
            Err(Fault::Failed(source)) if source.is_amqp_soft_error() => {
                if let Some(limit) = largest_message(&source) {
                    self.limit.fetch_min(limit, Ordering::Relaxed);
                }
                self.completed.push((place, Verdict::Bad(source), true));
            }
            confirmed => self.completed(place, confirmed),
        }
    }

    /// Everything that completed so far is known, and nothing else is on its way if `all`: what is decided.
    pub(super) fn swept(&mut self, all: bool) -> Vec<(Place, Verdict)> {
        // What was held before has an answer once the queue was empty at a later completion.
        let is_settled = all || self.completed.iter().any(|(_, _, was_empty)| *was_empty);
        let mut decided: Vec<(Place, Verdict)> = if is_settled { std::mem::take(&mut self.held) } else { Vec::new() };
        for (place, verdict, was_empty) in self.completed.drain(..) {
            match was_empty || all {
                true => decided.push((place, verdict)),
                false => self.held.push((place, verdict)),
            }
        }
        for (place, verdict) in &mut decided {
            let Some(Published { mark, .. }) = self.undecided.remove(place) else { continue };
            let Some(count) = self.returned.get_mut(&mark) else { continue };
            if matches!(verdict, Verdict::Ack | Verdict::Nack) {
                *verdict = Verdict::Returned;
                *count -= 1;
                if *count == 0 {
                    self.returned.remove(&mark);
                }
            }
        }
        decided
    }
}
