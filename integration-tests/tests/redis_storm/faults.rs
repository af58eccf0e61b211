//! The faults, one after another, each followed by proof that deliveries go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::proxy::{Direction, Proxy};
use integration_tests::redis_server::RedisServer;
use rustix::process::Signal;
use zephcast::Client;
use zephcast_conformance::History;

use super::member::Member;
use super::process::Process;
use super::{LEASE, PATIENCE};

pub(crate) struct Storm {
    server: Option<RedisServer>,
    proxy: Proxy,
    history: Arc<History>,
    client: Client,
    processes: Vec<Process>,
    /// From when to when each fault lasted.
    pub(crate) windows: Vec<(Instant, Instant)>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Reset,
    KillMember,
    BlackHole,
    CutClient,
    FreezeMember,
    KillServer,
    Latency,
    KillClients,
    CutServer,
    JoinAndLeave,
    FreezeServer,
    Down,
    HalfOpen,
    FlushScripts,
    KillMemberAgain,
}

const FAULTS: [Fault; 15] = [
    Fault::Reset,
    Fault::KillMember,
    Fault::BlackHole,
    Fault::CutClient,
    Fault::FreezeMember,
    Fault::KillServer,
    Fault::Latency,
    Fault::KillClients,
    Fault::CutServer,
    Fault::JoinAndLeave,
    Fault::FreezeServer,
    Fault::Down,
    Fault::HalfOpen,
    Fault::FlushScripts,
    Fault::KillMemberAgain,
];

impl Storm {
    pub(crate) fn new(server: RedisServer, proxy: Proxy, history: Arc<History>, client: Client) -> Self {
        Self { server: Some(server), proxy, history, client, processes: Vec::new(), windows: Vec::new() }
    }

    /// Every fault once. After each, new messages are delivered before the next.
    pub(crate) async fn rage(&mut self) {
        for _ in 0..2 {
            self.start_process().await;
        }
        for fault in FAULTS {
            let from = Instant::now();
            println!("{fault:?} at {} messages", self.history.distinct());
            self.strike(fault).await;
            self.windows.push((from, Instant::now()));
            self.go_on(fault).await;
        }
    }

    /// Ends the processes in good order and hands the server over.
    pub(crate) async fn calm(&mut self) -> RedisServer {
        for process in std::mem::take(&mut self.processes) {
            process.end().await;
        }
        self.server.take().expect("calm once")
    }

    async fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Reset => self.proxy.reset(),
            Fault::KillMember | Fault::KillMemberAgain => {
                self.processes.remove(0).kill9().await;
                self.start_process().await;
            }
            Fault::BlackHole => self.silence(Direction::BOTH, LEASE * 3 / 2).await,
            Fault::HalfOpen => self.silence(&[Direction::FromServer], LEASE).await,
            Fault::CutClient => self.proxy.cut_after(Direction::FromClient, 5_000),
            Fault::CutServer => self.proxy.cut_after(Direction::FromServer, 7_000),
            Fault::FreezeMember => {
                self.processes[0].signal(Signal::STOP);
                tokio::time::sleep(LEASE * 2).await;
                self.processes[0].signal(Signal::CONT);
            }
            Fault::KillServer => {
                let server = self.server();
                server.kill9().expect("kills");
                server.restart().await.expect("restarts");
            }
            Fault::Latency => {
                self.proxy.set_latency(Duration::from_millis(50));
                tokio::time::sleep(LEASE).await;
                self.proxy.heal();
            }
            Fault::KillClients => drop(self.server().cli(&["CLIENT", "KILL", "TYPE", "normal"]).await),
            Fault::JoinAndLeave => {
                let member = Member::join(&self.client, self.history.clone()).await;
                self.go_on(fault).await;
                let report = member.leave().await;
                assert!(report.clean, "{report:?}");
            }
            Fault::FreezeServer => {
                self.server().stop().expect("stops");
                tokio::time::sleep(LEASE / 2).await;
                self.server().cont().expect("goes on");
            }
            Fault::Down => {
                self.proxy.down().await;
                tokio::time::sleep(LEASE).await;
                self.proxy.up().await.expect("comes up");
            }
            Fault::FlushScripts => drop(self.server().cli(&["SCRIPT", "FLUSH"]).await.expect("flushes")),
        }
    }

    /// Lets nothing through for a while. The time is the fault.
    async fn silence(&self, directions: &[Direction], time: Duration) {
        self.proxy.set_black_hole(directions);
        tokio::time::sleep(time).await;
        // What was swallowed is gone, so the connections are of no use any more.
        self.proxy.reset();
        self.proxy.heal();
    }

    /// Waits until messages are delivered that were not before.
    async fn go_on(&self, after: Fault) {
        let (before, until) = (self.history.distinct(), Instant::now() + PATIENCE);
        while self.history.distinct() < before + 500 && !self.history_is_full() {
            assert!(Instant::now() < until, "no new message within {PATIENCE:?} after {after:?}");
            // The history is told by many; it tells nobody.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn history_is_full(&self) -> bool {
        self.history.distinct() as u64 >= super::MESSAGES
    }

    async fn start_process(&mut self) {
        let url = format!("redis://{}", self.proxy.addr());
        self.processes.push(Process::start(&url, self.history.clone()).await);
    }

    fn server(&mut self) -> &mut RedisServer {
        self.server.as_mut().expect("the server is here until calm")
    }
}
