//! Waiting for what a fault brought about. What does not come in time had no effect, which the storm tells.

use std::time::{Duration, Instant};

use integration_tests::storm::{self, Outages, Process, Told};
use rustix::process::Signal;

use super::faults::{SHORT, Struck};
use super::storm::Storm;
use super::{GROUP, STREAM, suspects};

/// The longest that a fault's effect is waited for.
const EFFECT: Duration = Duration::from_secs(15);

impl Storm {
    /// What each member has said of its outages so far.
    pub(super) fn told(&self) -> Vec<Told> {
        self.outages().map(Outages::told).collect()
    }

    /// Waits until no member is without its broker, since one that is cannot lose it.
    pub(super) async fn all_connected(&self) {
        // One that stays away has no part in the next fault, which then shows no effect.
        self.all(&self.told(), |now, _| now.reconnected == now.disconnected).await;
    }

    /// Waits until every member has said that it lost its broker.
    pub(super) async fn all_disconnected(&self, before: &[Told]) -> Option<String> {
        self.all(before, |now, before| now.disconnected > before.disconnected).await?;
        Some(format!("{} members said that they were disconnected", before.len()))
    }

    /// Waits until every member has said that it lost its broker and that it is back.
    pub(super) async fn all_reconnected(&self, before: &[Told]) -> Option<String> {
        let back = |now: &Told, before: &Told| {
            now.disconnected > before.disconnected
                && now.reconnected > before.reconnected
                && now.reconnected == now.disconnected
        };
        self.all(before, back).await?;
        Some(format!("{} members were disconnected and came back", before.len()))
    }

    /// The fault is over, and counts if it was noticed and everybody comes back.
    pub(super) async fn then_reconnected(&self, before: &[Told], noticed: Option<String>) -> Struck {
        let back = self.all_reconnected(before).await;
        // Until then nobody looks for what was left behind.
        let ended = Instant::now();
        Struck { ended, seen: noticed.zip(back).map(|(noticed, back)| format!("{noticed}; {back}")) }
    }

    /// Stops a member while it holds something, and says how much.
    pub(super) async fn stop_at_work(&self, process: &Process) -> Option<u64> {
        let holds = async || self.look(&process.name).await.map(|(held, _)| held).filter(|held| *held > 0);
        self.poll(async || {
            process.signal(Signal::STOP);
            // One that stood between two reads would be given nothing for as long as it stands.
            let held = tokio::time::timeout(SHORT, self.poll(holds)).await.ok().flatten();
            if held.is_none() {
                process.signal(Signal::CONT);
            }
            held
        })
        .await
    }

    /// Waits until this member holds nothing any more, and what it held has been handled by others.
    pub(super) async fn taken_over(&self, member: &str) -> Option<()> {
        self.poll(async || self.look(member).await.filter(|(held, suspects)| held + suspects == 0).map(drop)).await
    }

    /// What this member holds, and what nobody does after some member's end.
    async fn look(&self, member: &str) -> Option<(u64, u64)> {
        let status = self.witness.group_status(STREAM, GROUP).await.ok()?;
        let held = status.members.iter().find(|known| known.name.as_str() == member).and_then(|known| known.in_flight);
        Some((held.unwrap_or(0), suspects::waiting(&status)))
    }

    /// Looks until there is something to see. For what tells nobody.
    pub(super) async fn poll<T>(&self, look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
        storm::poll(EFFECT, look).await
    }

    pub(super) async fn seen<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(EFFECT, what).await.ok()
    }

    async fn all(&self, before: &[Told], holds: impl Fn(&Told, &Told) -> bool) -> Option<()> {
        storm::all(self.outages(), before, EFFECT, holds).await
    }

    fn outages(&self) -> impl Iterator<Item = &Outages> {
        std::iter::once(&self.member.outages).chain(self.processes.iter().map(|process| &process.outages))
    }
}
