//! What a member is told of its broker being away.
//!
//! The intake notices when a fetch fails. While it does not fetch, since the window is full or a suspect waits to be asked
//! for, only renewals talk to the broker: then theirs is the word. An outage is told once, whoever noticed it first.

use std::sync::PoisonError;

use tokio::time::Instant;

use crate::{Error, Event};

use super::core::MemberCore;

/// Who talks to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talker {
    Intake,
    Renewal,
}

/// The outage that was told and is not over.
#[derive(Debug)]
pub(crate) struct Outage {
    since: Instant,
    /// Whether a fetch failed and one with room follows, so that only a fetch can say that it is over.
    fetch_failed: bool,
}

impl MemberCore {
    /// A call failed for now.
    pub(crate) fn disconnected(&self, talker: Talker, error: Error) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let fetch_failed = talker == Talker::Intake;
        if let Some(outage) = &mut *outage {
            outage.fetch_failed |= fetch_failed;
            return;
        }
        *outage = Some(Outage { since: Instant::now(), fetch_failed });
        tracing::warn!(%error, stream = %self.subscription.stream, "disconnected, trying again");
        self.emit(Event::Disconnected(error));
    }

    /// The fetch that begins has no room and may bring nothing for long: that it is over is then for a renewal to say too.
    pub(crate) fn waits_for_news(&self) {
        if let Some(outage) = &mut *self.outage.lock().unwrap_or_else(PoisonError::into_inner) {
            outage.fetch_failed = false;
        }
    }

    /// A call went well. A connection that renews is not always the one that fetches.
    pub(crate) fn connected(&self, talker: Talker) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let over = outage.take_if(|outage| talker == Talker::Intake || !outage.fetch_failed);
        if let Some(over) = over {
            self.emit(Event::Reconnected(over.since.elapsed()));
        }
    }
}
