//! The last thing that went wrong by the client library's own word.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use zephcast_core::{Broker, Error, ErrorKind};

use crate::error::Told;

/// So often a suspicion is confirmed, by connections that end again, before it is believed: a broker that is going down
/// ends connections in the same way, and then takes none.
const BELIEVED: u32 = 3;
/// In this time after an end whatever else is told is about the same one.
const SAME: Duration = Duration::from_millis(50);
/// The library says up to ten times a second that nobody answers.
const QUIET: Duration = Duration::from_secs(10);

/// The last thing that went wrong, until something went well.
///
/// The library retries for ever what cannot heal, and says it once or as an error of no call: whoever waits adds it to
/// what is said about the waiting. What says why stays, whatever vague comes after it.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told whenever something final is there.
    is_final: Notify,
}

#[derive(Default)]
struct State {
    last: Option<Known>,
    /// What was written to the log last, and when.
    written: Option<(ErrorKind, String, Instant)>,
}

struct Known {
    error: Error,
    weight: Weight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// It follows from whatever was told before.
    Vague,
    Passing,
    /// So often confirmed, and when last.
    Suspect(u32, Instant),
    Final,
}

impl Trouble {
    /// Keeps what the library told.
    pub(crate) fn hear(&self, told: Told) {
        self.hear_at(told, Instant::now());
    }

    fn hear_at(&self, told: Told, now: Instant) {
        let mut state = self.state();
        let (error, weight) = match told {
            Told::Final(error) => (error, Weight::Final),
            Told::Suspect(error) => (error, Weight::Suspect(1, now)),
            Told::Passing(error) => (error, Weight::Passing),
            Told::Vague(error) => (error, Weight::Vague),
        };
        state.write(&error, weight, now);
        let known = state.last.take();
        let known_weight = known.as_ref().map_or(Weight::Vague, |known| known.weight);
        let (weight, is_kept) = match (known_weight, weight) {
            (Weight::Final, Weight::Final) => (Weight::Final, false),
            (Weight::Final, _) => (Weight::Final, true),
            // The library keeps quiet about an error that repeats, and tells what follows from it.
            (Weight::Suspect(times, at), Weight::Suspect(..) | Weight::Vague) => {
                let times = times + u32::from(now.duration_since(at) >= SAME);
                (if times >= BELIEVED { Weight::Final } else { Weight::Suspect(times, now) }, true)
            }
            (Weight::Passing, Weight::Vague) => (Weight::Passing, true),
            (_, weight) => (weight, false),
        };
        let error = known.filter(|_| is_kept).map_or(error, |known| known.error);
        state.last = Some(Known { error, weight });
        drop(state);
        if weight == Weight::Final {
            self.0.is_final.notify_waiters();
        }
    }

    /// Something went well: what was wrong is not so any more.
    pub(crate) fn is_over(&self) {
        *self.state() = State::default();
    }

    /// What went wrong last and is not over.
    pub(crate) fn last(&self) -> Option<Error> {
        self.state().last.as_ref().map(|known| known.error.clone())
    }

    /// Waits until something is wrong that trying again does not help.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn telling(&self) -> Error {
        loop {
            let told = self.0.is_final.notified();
            tokio::pin!(told);
            // From here on nothing is missed.
            told.as_mut().enable();
            if let Some(error) = self.final_cause() {
                return error;
            }
            told.await;
        }
    }

    /// An error with what the library said about it: of one that says only that no answer came, the cause.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if !matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) {
            return error;
        }
        if let Some(cause) = self.final_cause() {
            let message = cause.message().to_owned();
            return Error::new(cause.kind(), error.operation(), message).on(Broker::Kafka).caused_by(cause);
        }
        self.explain_to_member(error)
    }

    /// As [`explain`](Self::explain), for a member, which waits without an end whatever is believed of its brokers: one
    /// behind a balancer or a proxy that takes connections while it is away looks like one that talks TLS. The kind stays.
    pub(crate) fn explain_to_member(&self, error: Error) -> Error {
        match self.last() {
            Some(cause) => {
                let message = format!("{} ({})", error.message(), cause.message());
                Error::new(error.kind(), error.operation(), message).on(Broker::Kafka).caused_by(cause)
            }
            None => error,
        }
    }

    fn final_cause(&self) -> Option<Error> {
        let state = self.state();
        state.last.as_ref().filter(|known| known.weight == Weight::Final).map(|known| known.error.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells the log, unless it has been told just now.
    fn write(&mut self, error: &Error, weight: Weight, now: Instant) {
        let same = |(kind, message, at): &(ErrorKind, String, Instant)| {
            let vague = matches!(weight, Weight::Vague | Weight::Passing) && *kind == error.kind();
            (vague || message == error.message()) && now.duration_since(*at) < QUIET
        };
        if self.written.as_ref().is_some_and(same) {
            return;
        }
        self.written = Some((error.kind(), error.message().to_owned(), now));
        let why = StdError::source(error).map(ToString::to_string).unwrap_or_default();
        match weight {
            Weight::Final => tracing::warn!(%error, why, "Kafka cannot be used"),
            Weight::Suspect(..) | Weight::Passing | Weight::Vague => tracing::info!(%error, why, "trouble with Kafka"),
        }
    }
}

#[cfg(test)]
mod tests;
