//! Which confirm means what, with messages in between that no queue took.
//!
//! The server returns a message before it confirms it. The client library keeps returned messages in a queue and gives the
//! oldest one to each confirm that completes, whosesoever it is. So a confirm that completes with nothing says that the
//! queue was empty, and that the own message, if it was returned, was given to a confirm that completed before; one that
//! completes with its own message was returned; and one that completes with another's says nothing of its own until the
//! queue has been empty once.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec::Drain;

use lapin::message::BasicReturnMessage;
use lapin::types::LongString;
use lapin::{BasicProperties, Confirmation, Error as LapinError};

use crate::error::largest_message;
use crate::properties::{ID, ORIGIN, Outgoing};

/// Tells messages of one channel apart: by where they go, which message they are, and of which delivery they are a copy. Of
/// two that are alike in all of that, either may have the other's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark(u64);

impl Mark {
    pub(super) fn of(message: &Outgoing) -> Self {
        let Outgoing { exchange, routing_key, properties, payload, .. } = message;
        Self::new(exchange.as_str(), routing_key.as_str(), properties, payload)
    }

    fn new(exchange: &str, routing_key: &str, properties: &BasicProperties, payload: &[u8]) -> Self {
        let header =
            |name| properties.headers().as_ref()?.inner().get(name)?.as_long_string().map(LongString::as_bytes);
        let id = properties.message_id().as_ref().map(|id| id.as_str().as_bytes()).or_else(|| header(ID));
        let (origin, text) = (header(ORIGIN).unwrap_or_default(), id.unwrap_or(payload));
        // As few steps as tell them apart: this is done for each message.
        let mut hasher = DefaultHasher::new();
        hasher.write(text);
        hasher.write(origin);
        hasher.write(routing_key.as_bytes());
        hasher.write(exchange.as_bytes());
        let lengths = [usize::from(id.is_some()), text.len(), origin.len(), routing_key.len(), payload.len()];
        hasher.write_u64(lengths.into_iter().fold(0, |all, length| all.rotate_left(13) ^ length as u64));
        Self(hasher.finish())
    }
}

/// A message's place in the order in which they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Place {
    /// How many places come from an earlier one on before this one.
    pub(super) fn since(self, earlier: Self) -> usize {
        (self.0 - earlier.0) as usize
    }
}

/// What the client library gives for a message. Small: it is moved some times.
#[derive(Debug)]
pub(super) struct Answer {
    is_ack: bool,
    /// A message that no queue took, this one or another.
    returned: Option<Mark>,
}

impl From<Confirmation> for Answer {
    fn from(confirmation: Confirmation) -> Self {
        let (is_ack, returned) = match confirmation {
            Confirmation::Ack(returned) => (true, returned),
            Confirmation::Nack(returned) => (false, returned),
            // Cannot be: the channel confirms.
            Confirmation::NotRequested => (false, None),
        };
        let mark = |returned: BasicReturnMessage| {
            let (exchange, routing_key) = (returned.exchange.as_str(), returned.routing_key.as_str());
            Mark::new(exchange, routing_key, &returned.properties, &returned.data)
        };
        Self { is_ack, returned: returned.map(mark) }
    }
}

/// Why a message has no confirm.
#[derive(Debug)]
pub(super) enum Fault {
    /// The channel was closed before anything of it was sent.
    NotSent,
    Failed(Box<LapinError>),
}

impl Fault {
    pub(super) fn failed(source: LapinError) -> Self {
        Self::Failed(Box::new(source))
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
    Bad(Box<LapinError>),
    Failed(Box<LapinError>),
}

/// What is known of messages that are not decided.
pub(super) struct Verdicts {
    /// By place, from the oldest on; as many as can be published before a server that does not confirm is given up.
    undecided: VecDeque<Option<Published>>,
    /// The place of the oldest.
    oldest: u64,
    /// The largest message that the server takes, as soon as it has said so.
    limit: Arc<AtomicUsize>,
    /// The message because of which the server closed the channel, where it said enough.
    culprit: Option<Place>,
    /// Completed since the last sweep.
    completed: Vec<(Place, Verdict, Given)>,
    /// Completed with another's message.
    held: Vec<(Place, Verdict)>,
    /// By the last sweep.
    decided: Vec<(Place, Verdict)>,
    /// Returned, given to others' confirms, and not matched by their own yet.
    returned: HashMap<Mark, usize>,
}

/// Which returned message a confirm completed with.
#[derive(Clone, Copy)]
enum Given {
    /// There was none.
    Nothing,
    Itself,
    Another,
}

#[derive(Clone, Copy)]
struct Published {
    mark: Mark,
    bytes: usize,
}

impl Verdicts {
    pub(super) fn new(limit: Arc<AtomicUsize>) -> Self {
        Self {
            undecided: VecDeque::new(),
            oldest: 0,
            limit,
            culprit: None,
            completed: Vec::new(),
            held: Vec::new(),
            decided: Vec::new(),
            returned: HashMap::new(),
        }
    }

    /// The place of the oldest message that is not decided, or of the next one.
    pub(super) fn oldest(&self) -> Place {
        Place(self.oldest)
    }

    /// The place of the message that is published next.
    pub(super) fn next(&self) -> Place {
        Place(self.oldest + self.undecided.len() as u64)
    }

    pub(super) fn published(&mut self, message: &Outgoing) -> Place {
        let place = self.next();
        self.undecided.push_back(Some(Published { mark: Mark::of(message), bytes: message.payload.len() }));
        place
    }

    pub(super) fn completed(&mut self, place: Place, answer: Result<Answer, Fault>) {
        let (verdict, returned) = match answer {
            Ok(Answer { is_ack: true, returned }) => (Verdict::Ack, returned),
            Ok(Answer { is_ack: false, returned }) => (Verdict::Nack, returned),
            Err(Fault::NotSent) => (Verdict::NotSent, None),
            Err(Fault::Failed(source)) => (self.failed(place, source), None),
        };
        let own = self.undecided[place.since(Place(self.oldest))].map(|published| published.mark);
        match returned {
            None => self.completed.push((place, verdict, Given::Nothing)),
            Some(mark) if Some(mark) == own => self.completed.push((place, Verdict::Returned, Given::Itself)),
            Some(mark) => {
                *self.returned.entry(mark).or_default() += 1;
                self.completed.push((place, verdict, Given::Another));
            }
        }
    }

    /// The server reads messages in order: what came after the one that it closed the channel for it has passed over.
    fn failed(&mut self, place: Place, source: Box<LapinError>) -> Verdict {
        if let Some(limit) = largest_message(&source) {
            self.limit.fetch_min(limit, Ordering::Relaxed);
            if self.culprit.is_none() {
                let is_larger = |published: &Option<Published>| published.is_some_and(|one| one.bytes > limit);
                let larger = self.undecided.iter().position(is_larger);
                self.culprit = larger.map(|index| Place(self.oldest + index as u64));
            }
        }
        match self.culprit.map(|culprit| place.cmp(&culprit)) {
            Some(std::cmp::Ordering::Equal) => Verdict::Bad(source),
            Some(std::cmp::Ordering::Greater) => Verdict::NotSent,
            Some(std::cmp::Ordering::Less) | None => Verdict::Failed(source),
        }
    }

    /// As [`completed`](Self::completed), of a message that was the only one on its way.
    pub(super) fn completed_alone(&mut self, place: Place, answer: Result<Answer, Fault>) {
        match answer {
            Err(Fault::Failed(source)) if source.is_amqp_soft_error() => {
                if let Some(limit) = largest_message(&source) {
                    self.limit.fetch_min(limit, Ordering::Relaxed);
                }
                self.completed.push((place, Verdict::Bad(source), Given::Nothing));
            }
            answer => self.completed(place, answer),
        }
    }

    /// Everything that completed so far is known, and nothing else is on its way if `all`: what is decided.
    pub(super) fn swept(&mut self, all: bool) -> Drain<'_, (Place, Verdict)> {
        // What was held before has an answer once the queue was empty at a later completion.
        let is_settled = all || self.completed.iter().any(|(_, _, given)| matches!(given, Given::Nothing));
        if is_settled {
            self.decided.append(&mut self.held);
        }
        for (place, verdict, given) in self.completed.drain(..) {
            match given {
                Given::Another if !all => self.held.push((place, verdict)),
                Given::Another | Given::Nothing | Given::Itself => self.decided.push((place, verdict)),
            }
        }
        for (place, verdict) in &mut self.decided {
            let Some(Published { mark, .. }) = self.undecided[place.since(Place(self.oldest))].take() else { continue };
            while let Some(None) = self.undecided.front() {
                self.undecided.pop_front();
                self.oldest += 1;
            }
            let Some(count) = self.returned.get_mut(&mark) else { continue };
            if matches!(verdict, Verdict::Ack | Verdict::Nack) {
                *verdict = Verdict::Returned;
                *count -= 1;
                if *count == 0 {
                    self.returned.remove(&mark);
                }
            }
        }
        self.decided.drain(..)
    }
}

#[cfg(test)]
mod tests;
