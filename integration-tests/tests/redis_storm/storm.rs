//! The storm: who takes part, when each fault strikes, and what goes on after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::proxy::Proxy;
use integration_tests::redis_server::RedisServer;
use integration_tests::storm::windows::Window;
use integration_tests::storm::{Member, Process};
use zephcast::Client;
use zephcast_conformance::History;

use super::faults::FAULTS;
use super::suspects::Suspects;
use super::{MESSAGES, PATIENCE, TERMS};

/// Members in processes of their own, beside the one in this process.
const PROCESSES: usize = 2;

pub(crate) struct Storm {
    pub(super) server: RedisServer,
    pub(super) proxy: Proxy,
    pub(super) url: String,
    pub(super) history: Arc<History>,
    /// Goes through the proxy, as the members do.
    pub(super) client: Client,
    /// Sees the server past the proxy.
    pub(crate) witness: Client,
    suspects: Suspects,
    pub(crate) member: Member,
    pub(super) processes: Vec<Process>,
    /// The faults that had their effect.
    pub(crate) struck: usize,
    /// Those of them that can have ended leases.
    pub(crate) windows: Vec<Window>,
}

impl Storm {
    /// Adds the members in processes of their own. Messages must be on their way.
    pub(crate) async fn new(
        server: RedisServer,
        proxy: Proxy,
        url: &str,
        history: Arc<History>,
        client: Client,
        member: Member,
    ) -> Self {
        let witness = zephcast::connect(&server.url()).await.expect("connects");
        let (url, processes, suspects) = (url.to_owned(), Vec::new(), Suspects::watch(witness.clone()));
        let (struck, windows) = (0, Vec::new());
        let mut storm =
            Self { server, proxy, url, history, client, witness, suspects, member, processes, struck, windows };
        for _ in 0..PROCESSES {
            storm.start_process().await;
        }
        storm
    }

    /// Every fault once, spread over all messages. After each, new messages are delivered before the next.
    pub(crate) async fn rage(&mut self) {
        let begin = Instant::now();
        for (number, fault) in (1..).zip(FAULTS) {
            self.until_delivered(MESSAGES * number / (FAULTS.len() as u64 + 1)).await;
            self.all_connected().await;
            let (from, before) = (Instant::now(), self.history.distinct());
            let struck = self.strike(fault).await;
            let seen = struck.seen.as_deref().unwrap_or("NO EFFECT, does not count");
            println!("{:5.1} s, {before:5} messages: {fault:?}: {seen}", (from - begin).as_secs_f64());
            self.struck += usize::from(struck.seen.is_some());
            // Whether or not the effect was seen, what it explains is what it can have done.
            let members = fault.ends_leases_of(1 + PROCESSES);
            if members > 0 {
                self.windows.push(Window::new(TERMS, format!("{fault:?}"), from, struck.ended, members));
            }
            self.until_delivered((before as u64 + 500).min(MESSAGES * 9 / 10)).await;
        }
    }

    /// Ends the processes in good order, and looks how long the aftermath of each fault was.
    pub(crate) async fn calm(&mut self) {
        for process in std::mem::take(&mut self.processes) {
            process.end().await;
        }
        let spells = self.suspects.spells();
        self.windows.iter_mut().for_each(|window| window.prolong(&spells));
    }

    /// Waits until so many different messages were delivered.
    async fn until_delivered(&self, messages: u64) {
        let until = Instant::now() + PATIENCE;
        while (self.history.distinct() as u64) < messages {
            assert!(Instant::now() < until, "not {messages} messages after {PATIENCE:?}: {}", self.history.findings());
            // The history is told by many; it tells nobody.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn start_process(&mut self) {
        self.processes.push(Process::start(TERMS, &self.url, self.history.clone()).await);
    }
}
