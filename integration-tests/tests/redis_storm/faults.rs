//! The faults, each with the proof that it had its effect.

use std::time::{Duration, Instant};

use integration_tests::proxy::Direction;
use integration_tests::storm::{Member, Told};
use rustix::process::Signal;

use super::storm::Storm;
use super::{GROUP, LEASE, STREAM, TERMS};

/// Long enough to be noticed, and too short for a lease to end.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
const LATENCY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// All connections end at once.
    Reset,
    /// Nothing comes through, without a word, until every member has noticed by itself.
    BlackHole,
    /// Nothing comes back from the server for a lease.
    HalfOpen,
    /// A connection ends in the middle of a request.
    CutClient,
    /// A connection ends in the middle of an answer.
    CutServer,
    /// Everything takes longer.
    Latency,
    /// Nobody can connect for a lease.
    Down,
    /// The server ends all connections.
    KillClients,
    /// The server forgets its scripts.
    FlushScripts,
    /// The server stands still for a moment.
    FreezeServer,
    /// The server dies and comes back.
    KillServer,
    /// A member dies with deliveries in flight.
    KillMember,
    /// A member stands still with deliveries in flight until others have taken them over, and goes on.
    FreezeMember,
    /// A member joins and leaves in good order.
    JoinAndLeave,
}

/// Those that end no lease stand together, so that there is calm enough to see a repeat that nothing explains. Outages
/// stand apart: members wait longer before each attempt while outages follow each other closely.
pub(crate) const FAULTS: [Fault; 15] = [
    Fault::Reset,
    Fault::CutClient,
    Fault::Latency,
    Fault::FlushScripts,
    Fault::BlackHole,
    Fault::KillMember,
    Fault::FreezeMember,
    Fault::JoinAndLeave,
    Fault::CutServer,
    Fault::KillClients,
    Fault::KillServer,
    Fault::KillMember,
    Fault::FreezeServer,
    Fault::HalfOpen,
    Fault::Down,
];

/// What came of a fault.
pub(crate) struct Struck {
    /// When the fault itself was over.
    pub(crate) ended: Instant,
    /// What was seen of its effect; none when nothing was.
    pub(crate) seen: Option<String>,
}

impl Fault {
    /// How many members' leases it can end, of so many. With 0 nothing may come twice because of it.
    pub(crate) fn ends_leases_of(self, members: usize) -> usize {
        match self {
            Self::Reset | Self::CutClient | Self::CutServer | Self::Latency | Self::KillClients => 0,
            Self::FlushScripts | Self::FreezeServer | Self::JoinAndLeave => 0,
            Self::KillMember | Self::FreezeMember => 1,
            Self::BlackHole | Self::HalfOpen | Self::Down | Self::KillServer => members,
        }
    }
}

impl Storm {
    pub(crate) async fn strike(&mut self, fault: Fault) -> Struck {
        let before = self.told();
        let seen = match fault {
            Fault::Reset => {
                self.proxy.reset();
                return over(self.all_reconnected(&before).await);
            }
            Fault::BlackHole => {
                self.proxy.set_black_hole(Direction::BOTH);
                let noticed = self.all_disconnected(&before).await;
                self.proxy.heal();
                return self.then_reconnected(&before, noticed.map(|noticed| format!("unasked, {noticed}"))).await;
            }
            Fault::HalfOpen => self.half_open(&before).await,
            Fault::CutClient => self.cut(Direction::FromClient, 5_000).await,
            Fault::CutServer => self.cut(Direction::FromServer, 7_000).await,
            Fault::Latency => {
                self.proxy.set_latency(LATENCY);
                let asked = Instant::now();
                self.client.group_status(STREAM, GROUP).await.expect("a status");
                let took = asked.elapsed();
                tokio::time::sleep(LEASE).await;
                self.proxy.heal();
                (took >= LATENCY * 2).then(|| format!("an answer took {took:?}"))
            }
            Fault::Down => {
                self.proxy.down().await;
                self.proxy.reset();
                let noticed = self.all_disconnected(&before).await;
                // The time is the fault.
                tokio::time::sleep(LEASE).await;
                self.proxy.up().await.expect("comes up");
                return self.then_reconnected(&before, noticed).await;
            }
            Fault::KillClients => {
                let killed = self.server.cli(&["CLIENT", "KILL", "TYPE", "normal"]).await.expect("kills");
                let noticed = self.all_reconnected(&before).await;
                return over(noticed.map(|noticed| format!("{killed} killed, {noticed}")));
            }
            Fault::FlushScripts => self.flush_scripts().await,
            Fault::FreezeServer => self.freeze_server().await,
            Fault::KillServer => {
                self.server.kill9().expect("kills");
                self.server.restart().await.expect("restarts");
                return self.then_reconnected(&before, Some("restarted".to_owned())).await;
            }
            Fault::KillMember => return self.kill_member().await,
            Fault::FreezeMember => return self.freeze_member().await,
            Fault::JoinAndLeave => self.join_and_leave().await,
        };
        over(seen)
    }

    /// The answers vanish for a lease, then the connections end.
    async fn half_open(&self, before: &[Told]) -> Option<String> {
        let swallowed = self.proxy.counters().swallowed;
        self.proxy.set_black_hole(&[Direction::FromServer]);
        // The time is the fault.
        tokio::time::sleep(LEASE).await;
        let swallowed = self.proxy.counters().swallowed - swallowed;
        self.proxy.reset();
        self.proxy.heal();
        let noticed = self.all_reconnected(before).await?;
        (swallowed > 0).then(|| format!("{swallowed} bytes of answers vanished, {noticed}"))
    }

    async fn cut(&self, direction: Direction, bytes: u64) -> Option<String> {
        let before = self.proxy.counters();
        self.proxy.cut_after(direction, bytes);
        let made_anew = self.proxy.until(|now| now.reset > before.reset && now.accepted.len() > before.accepted.len());
        self.seen(made_anew).await?;
        Some("one connection broke and was made anew".to_owned())
    }

    async fn flush_scripts(&self) -> Option<String> {
        self.server.cli(&["SCRIPT", "FLUSH"]).await.expect("flushes");
        let known = self.poll(async || self.scripts().await.filter(|known| *known > 0)).await?;
        Some(format!("{known} scripts were loaded again"))
    }

    async fn scripts(&self) -> Option<u64> {
        let memory = self.server.cli(&["INFO", "memory"]).await.ok()?;
        let line = memory.lines().find_map(|line| line.strip_prefix("number_of_cached_scripts:"))?;
        line.trim().parse().ok()
    }

    async fn freeze_server(&self) -> Option<String> {
        self.server.stop().expect("stops");
        let asking = tokio::spawn({
            let client = self.client.clone();
            async move { client.group_status(STREAM, GROUP).await }
        });
        // The time is the fault.
        tokio::time::sleep(SHORT).await;
        let waited = !asking.is_finished();
        self.server.cont().expect("goes on");
        asking.await.expect("does not panic").expect("a status after all");
        waited.then(|| format!("an answer had to wait for {SHORT:?}"))
    }

    async fn kill_member(&mut self) -> Struck {
        let process = self.processes.remove(0);
        // Standing still, so that what it has when it dies can be looked at.
        let held = self.stop_at_work(&process).await;
        let name = process.name.clone();
        process.kill9().await;
        let ended = Instant::now();
        self.start_process().await;
        let taken = self.taken_over(&name).await;
        let seen = held.zip(taken).map(|(held, ())| format!("{held} messages were taken over from the dead"));
        Struck { ended, seen }
    }

    async fn freeze_member(&mut self) -> Struck {
        let held = self.stop_at_work(&self.processes[0]).await;
        let taken = self.taken_over(&self.processes[0].name).await;
        self.processes[0].signal(Signal::CONT);
        let ended = Instant::now();
        self.processes[0].more(1).await;
        let seen = held.zip(taken).map(|(held, ())| format!("{held} messages were taken over, and it went on"));
        Struck { ended, seen }
    }

    async fn join_and_leave(&self) -> Option<String> {
        let mut member = Member::join(TERMS, &self.client, self.history.clone()).await;
        let worked = async { member.handled.wait_for(|handled| *handled > 0).await.map(drop) };
        let worked = self.seen(worked).await;
        let report = member.leave().await;
        assert!(report.clean, "{report:?}");
        worked.map(|_| format!("it handled {} and left", report.delivered))
    }
}

fn over(seen: Option<String>) -> Struck {
    Struck { ended: Instant::now(), seen }
}
