//! The faults, each with the proof that it had its effect.

use std::time::{Duration, Instant};

use integration_tests::proxy::Direction;
use integration_tests::storm::Member;
use rustix::process::Signal;
use zephcast::ErrorKind;

use super::storm::Storm;
use super::{GROUP, STREAM, TERMS};

const LATENCY: Duration = Duration::from_millis(50);
/// Long enough to be noticed.
const SHORT: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// All connections end at once.
    Reset,
    /// Nothing comes through, without a word, until every member has noticed by itself.
    BlackHole,
    /// Nothing comes back from the server, until every member has noticed.
    DeafMembers,
    /// Nothing of what members send comes through, until the server has noticed.
    MuteMembers,
    /// A connection ends in the middle of a request.
    Cut,
    /// Everything takes longer.
    Latency,
    /// An operator ends all connections.
    CloseConnections,
    /// The server has too little memory, and takes no messages.
    MemoryAlarm,
    /// The server stands still until every member has noticed.
    FreezeServer,
    /// The server dies and comes back.
    KillServer,
    /// The server ends in good order and comes back.
    CleanRestart,
    /// A member dies with deliveries in flight.
    KillMember,
    /// A member stands still with deliveries in flight until the server gives it up, and goes on.
    FreezeMember,
    /// A member joins and leaves in good order.
    JoinAndLeave,
}

pub(crate) const FAULTS: [Fault; 14] = [
    Fault::Latency,
    Fault::Reset,
    Fault::KillMember,
    Fault::JoinAndLeave,
    Fault::BlackHole,
    Fault::MemoryAlarm,
    Fault::KillServer,
    Fault::FreezeMember,
    Fault::Cut,
    Fault::CloseConnections,
    Fault::DeafMembers,
    Fault::FreezeServer,
    Fault::MuteMembers,
    Fault::CleanRestart,
];

impl Fault {
    /// How many members' leases it can end, of so many. With 0 nothing may come twice because of it.
    pub(crate) fn ends_leases_of(self, members: usize) -> usize {
        match self {
            Self::Latency | Self::MemoryAlarm | Self::JoinAndLeave => 0,
            Self::Cut | Self::KillMember | Self::FreezeMember => 1,
            Self::Reset | Self::BlackHole | Self::DeafMembers | Self::MuteMembers => members,
            Self::CloseConnections | Self::FreezeServer | Self::KillServer | Self::CleanRestart => members,
        }
    }
}

impl Storm {
    /// Strikes, and says what was seen of the effect; none when nothing was.
    pub(crate) async fn strike(&mut self, fault: Fault) -> Option<String> {
        let before = self.told();
        match fault {
            Fault::Reset => {
                self.proxy.reset();
                self.all_lost(&before).await
            }
            Fault::BlackHole => self.swallow(Direction::BOTH).await,
            Fault::DeafMembers => self.swallow(&[Direction::FromServer]).await,
            Fault::MuteMembers => self.swallow(&[Direction::FromClient]).await,
            Fault::Cut => {
                let before = self.proxy.counters();
                self.proxy.cut_after(Direction::FromClient, 5_000);
                let anew =
                    self.proxy.until(|now| now.reset > before.reset && now.accepted.len() > before.accepted.len());
                self.seen(anew).await?;
                Some("one connection broke and was made anew".to_owned())
            }
            Fault::Latency => {
                self.proxy.set_latency(LATENCY);
                let asked = Instant::now();
                self.client.group_status(STREAM, GROUP).await.expect("a status");
                let took = asked.elapsed();
                self.proxy.heal();
                (took >= LATENCY * 2).then(|| format!("an answer took {took:?}"))
            }
            Fault::CloseConnections => {
                self.server.close_all_connections().await.expect("closes");
                self.all_lost(&before).await
            }
            Fault::MemoryAlarm => self.memory_alarm().await,
            Fault::FreezeServer => {
                self.server.stop().expect("stops");
                let noticed = self.all_lost(&before).await;
                self.server.cont().expect("goes on");
                noticed
            }
            Fault::KillServer => {
                self.server.kill9().expect("kills");
                let noticed = self.all_lost(&before).await;
                self.server.restart().await.expect("restarts");
                noticed
            }
            Fault::CleanRestart => {
                self.server.restart().await.expect("restarts");
                self.all_lost(&before).await
            }
            Fault::KillMember => self.kill_member().await,
            Fault::FreezeMember => self.freeze_member().await,
            Fault::JoinAndLeave => self.join_and_leave().await,
        }
    }

    async fn swallow(&self, directions: &[Direction]) -> Option<String> {
        let before = self.told();
        self.proxy.set_black_hole(directions);
        let begin = Instant::now();
        let noticed = self.all_lost(&before).await;
        let took = begin.elapsed();
        self.proxy.heal();
        Some(format!("after {took:.1?} {}", noticed?))
    }

    async fn memory_alarm(&self) -> Option<String> {
        self.server.raise_memory_alarm().await.expect("an alarm");
        let publisher = self.client.publisher(STREAM).timeout(SHORT).await.expect("opens");
        let blocked = self.poll(async || {
            let message = self.history.message(200);
            let payload = message.payload().clone();
            let outcome = publisher.publish(message).await;
            self.history.published(&payload, &outcome);
            outcome.err().filter(|error| error.kind() == ErrorKind::Blocked)
        });
        let blocked = blocked.await;
        self.server.clear_memory_alarm().await.expect("no alarm");
        Some(format!("told a publisher: {}", blocked?))
    }

    async fn kill_member(&mut self) -> Option<String> {
        let process = self.processes.remove(0);
        process.kill9().await;
        self.start_process().await;
        Some("another one came".to_owned())
    }

    async fn freeze_member(&mut self) -> Option<String> {
        let name = self.processes[0].name.clone();
        self.processes[0].signal(Signal::STOP);
        let begin = Instant::now();
        let given_up = self.poll(async || (!self.consumes(&name).await).then_some(())).await;
        let took = begin.elapsed();
        self.processes[0].signal(Signal::CONT);
        self.processes[0].more(1).await;
        given_up.map(|()| format!("the server gave it up after {took:.1?}, and it went on"))
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
