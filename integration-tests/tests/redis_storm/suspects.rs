//! When messages of an unclean end waited for their turn, as the server says. They come one at a time, so that the more
//! a fault left behind, and the slower the machine, the longer its aftermath.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use integration_tests::storm::windows::Spell;
use tokio::task::JoinHandle;
use zephcast::{Client, GroupStatus};

use super::{GROUP, LEASE, STREAM};

/// The server's own figures are asked for so often; it cannot be asked to tell them.
const EVERY: Duration = Duration::from_millis(50);

/// Watches until it is dropped.
pub(crate) struct Suspects {
    spells: Arc<Mutex<Vec<Spell>>>,
    task: JoinHandle<()>,
}

impl Suspects {
    pub(crate) fn watch(witness: Client) -> Self {
        let spells = Arc::<Mutex<Vec<Spell>>>::default();
        let seen = spells.clone();
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(EVERY);
            loop {
                pace.tick().await;
                // While the server is away nobody waits for anything there.
                let status = witness.group_status(STREAM, GROUP).await;
                if status.is_ok_and(|status| waiting(&status) > 0) {
                    note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
                }
            }
        });
        Self { spells, task }
    }

    pub(crate) fn spells(&self) -> Vec<Spell> {
        self.spells.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Suspects {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What was delivered and is with no member.
pub(crate) fn waiting(status: &GroupStatus) -> u64 {
    let with_members: u64 = status.members.iter().filter_map(|member| member.in_flight).sum();
    status.in_flight.unwrap_or(0).saturating_sub(with_members)
}

fn note(spells: &mut Vec<Spell>, now: Instant) {
    match spells.last_mut() {
        Some((_, last)) if now - *last <= LEASE => *last = now,
        _ => spells.push((now, now)),
    }
}
