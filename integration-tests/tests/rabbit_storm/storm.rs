//! The storm: who takes part, when each fault strikes, and what goes on after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::proxy::Proxy;
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use integration_tests::storm::windows::Window;
use integration_tests::storm::{self, Member, Outages, Process, Told};
use zephcast::Client;
use zephcast_conformance::History;

use super::faults::FAULTS;
use super::{GROUP, MESSAGES, PATIENCE, STREAM, TERMS};

/// Members in this process, beside as many in processes of their own.
const MEMBERS: usize = 2;
/// The longest that a fault's effect is waited for.
const EFFECT: Duration = Duration::from_secs(20);

pub(crate) struct Storm {
    pub(super) server: RabbitServer,
    pub(super) proxy: Proxy,
    url: String,
    pub(super) history: Arc<History>,
    /// Goes through the proxy, as the members do.
    pub(crate) client: Client,
    pub(super) members: Vec<Member>,
    pub(super) processes: Vec<Process>,
    /// The faults that had their effect.
    pub(crate) struck: usize,
    /// Those of them that can have ended leases.
    pub(crate) windows: Vec<Window>,
}

impl Storm {
    pub(crate) async fn start(history: Arc<History>) -> Self {
        let server = RabbitServer::start(RabbitOptions::default()).await.expect("RabbitMQ starts");
        let proxy = Proxy::start(server.addr()).await.expect("the proxy starts");
        let url = format!("amqp://guest:guest@{}/%2f?heartbeat=2&request-timeout=5000", proxy.addr());
        let client = zephcast::connect(&url).await.expect("connects");
        let (members, processes, struck, windows) = (Vec::new(), Vec::new(), 0, Vec::new());
        let mut storm = Self { server, proxy, url, history, client, members, processes, struck, windows };
        for _ in 0..MEMBERS {
            storm.members.push(Member::join(TERMS, &storm.client, storm.history.clone()).await);
            storm.start_process().await;
        }
        storm
    }

    /// Every fault once, spread over all messages. After each, what it left behind is handled before the next.
    pub(crate) async fn rage(&mut self, begin: Instant) {
        for (number, fault) in (1..).zip(FAULTS) {
            self.until_delivered(MESSAGES * number / (FAULTS.len() as u64 + 1)).await;
            let (from, before) = (Instant::now(), self.history.distinct() as u64);
            let seen = self.strike(fault).await;
            self.until_delivered((before + 500).min(MESSAGES * 9 / 10)).await;
            let calm = self.all_tried().await;
            let shown = seen.as_deref().unwrap_or("NO EFFECT, does not count");
            println!("{:5.1} s, {before:5} messages: {fault:?}: {shown}; {calm}", (from - begin).as_secs_f64());
            self.struck += usize::from(seen.is_some());
            // Whether or not the effect was seen, what it explains is what it can have done.
            let members = fault.ends_leases_of(self.members.len() + self.processes.len());
            if members > 0 {
                self.windows.push(Window::new(TERMS, format!("{fault:?}"), from, Instant::now(), members));
            }
        }
    }

    /// Waits until everything that was confirmed was delivered, and no queue of the group has anything left.
    pub(crate) async fn settled(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let left: Vec<_> = self.queues().await.into_iter().filter(|(_, messages)| *messages > 0).collect();
            if self.history.is_complete() && left.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "left after {PATIENCE:?}: {left:?}; {}", self.history.findings());
        }
    }

    pub(crate) async fn end(&mut self) {
        for process in std::mem::take(&mut self.processes) {
            process.end().await;
        }
        for member in std::mem::take(&mut self.members) {
            let report = member.leave().await;
            assert!(report.clean, "{report:?}");
        }
        self.client.close(Duration::from_secs(5)).await.expect("closes");
        assert_eq!(self.queues().await.iter().map(|(_, messages)| messages).sum::<u64>(), 0, "leaving gave back");
    }

    pub(super) async fn start_process(&mut self) {
        self.processes.push(Process::start(TERMS, &self.url, self.history.clone()).await);
    }

    /// What each member has said of its outages so far.
    pub(super) fn told(&self) -> Vec<Told> {
        self.outages().map(Outages::told).collect()
    }

    /// Waits until every member has said that it lost what it held.
    pub(super) async fn all_lost(&self, before: &[Told]) -> Option<String> {
        storm::all(self.outages(), before, EFFECT, |now, before| now.lost > before.lost).await?;
        Some(format!("{} members said that they lost what they held", before.len()))
    }

    pub(super) async fn seen<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(EFFECT, what).await.ok()
    }

    /// Looks until there is something to see.
    pub(super) async fn poll<T>(&self, look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
        storm::poll(EFFECT, look).await
    }

    /// The messages of each of the group's queues that were delivered and are not settled, by their consumer.
    pub(super) async fn consumes(&self, member: &str) -> bool {
        let consumers = self.server.ctl(&["list_consumers", "--no-table-headers", "consumer_tag"]).await;
        consumers.expect("lists").lines().any(|tag| tag == member)
    }

    /// Waits until no suspect is left, and says how long that took.
    async fn all_tried(&self) -> String {
        let since = Instant::now();
        let suspects = format!("{STREAM}.{GROUP}.suspects");
        loop {
            let left =
                self.queues().await.iter().find(|(name, _)| *name == suspects).map_or(0, |(_, messages)| *messages);
            if left == 0 {
                return format!("calm after {:.1?}", since.elapsed());
            }
            assert!(since.elapsed() < PATIENCE, "{left} suspects left after {PATIENCE:?}");
        }
    }

    /// The group's queues that hold its messages, and how many, by the server's own count.
    async fn queues(&self) -> Vec<(String, u64)> {
        let listed = self.server.ctl(&["list_queues", "--no-table-headers", "name", "messages"]).await.expect("lists");
        let queues = listed.lines().filter_map(|line| line.split_once('\t'));
        // Hints are about messages.
        let queues = queues.filter(|(name, _)| name.starts_with(STREAM) && !name.ends_with(".hints"));
        queues.map(|(name, messages)| (name.to_owned(), messages.parse().expect("a number"))).collect()
    }

    /// Waits until so many different messages were delivered.
    async fn until_delivered(&self, messages: u64) {
        let delivered = storm::poll(PATIENCE, async || (self.history.distinct() as u64 >= messages).then_some(()));
        let delivered = delivered.await;
        assert!(delivered.is_some(), "not {messages} messages after {PATIENCE:?}: {}", self.history.findings());
    }

    fn outages(&self) -> impl Iterator<Item = &Outages> {
        let here = self.members.iter().map(|member| &member.outages);
        here.chain(self.processes.iter().map(|process| &process.outages))
    }
}
