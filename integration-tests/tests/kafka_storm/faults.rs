//! The faults, each with the proof that it had its effect.

use std::time::{Duration, Instant};

use integration_tests::proxy::{Direction, Proxy};

use super::lab::Lab;
use super::member::{Member, Told};
use super::{CALM, LEASE, PATIENCE, STREAM};

/// Noticed, and too short for a lease to end.
const SHORT: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// All connections end at once.
    Reset,
    /// Everything takes longer.
    Latency,
    /// One of three nodes dies, and stays away while publishing goes on with two in sync.
    KillNode,
    /// It comes back.
    RestartNode,
    /// A node ends in good order and comes back.
    CleanRestart,
    /// A node stands still, shorter than a lease, and goes on.
    FreezeNode,
    /// Partitions, those of the groups' offsets too, go to other nodes: leaders and coordinators move.
    MovePartitions,
    /// Nothing comes through, without a word, for longer than a lease.
    BlackHole,
    /// A member vanishes with what it has in its hands, and another comes.
    VanishMember,
    /// A connection ends in the middle of a request.
    Cut,
    /// A node dies at the moment at which another stands still, and both come back.
    TwoOfThree,
}

pub(crate) const FAULTS: [Fault; 11] = [
    Fault::Reset,
    Fault::Latency,
    Fault::Cut,
    Fault::KillNode,
    Fault::RestartNode,
    Fault::MovePartitions,
    Fault::FreezeNode,
    Fault::CleanRestart,
    Fault::BlackHole,
    Fault::VanishMember,
    Fault::TwoOfThree,
];

impl Fault {
    /// Whether a lease can end because of it. A coordinator that moves forgets no member, but may be away for as long.
    pub(crate) fn ends_leases(self) -> bool {
        !matches!(self, Self::Reset | Self::Latency | Self::Cut)
    }
}

impl Lab {
    /// Strikes, and says what was seen of the effect; none when nothing was.
    pub(crate) async fn strike(&mut self, fault: Fault) -> Option<String> {
        match fault {
            Fault::Reset => {
                let before: usize = self.proxies.iter().map(|proxy| proxy.counters().open).sum();
                self.proxies.iter().for_each(Proxy::reset);
                (before > 0).then(|| format!("{before} connections ended"))
            }
            Fault::Latency => {
                self.proxies.iter().for_each(|proxy| proxy.set_latency(LATENCY));
                let asked = Instant::now();
                self.client.group_status(STREAM, super::GROUP).await.expect("a status");
                let took = asked.elapsed();
                // The time is the fault.
                tokio::time::sleep(LEASE).await;
                self.proxies.iter().for_each(Proxy::heal);
                (took >= LATENCY * 2).then(|| format!("an answer took {took:?}"))
            }
            Fault::Cut => {
                let before = self.proxies[0].counters();
                self.proxies[0].cut_after(Direction::FromClient, 5_000);
                let anew =
                    self.proxies[0].until(|now| now.reset > before.reset && now.accepted.len() > before.accepted.len());
                tokio::time::timeout(PATIENCE / 3, anew).await.ok()?;
                Some("one connection broke and was made anew".to_owned())
            }
            Fault::KillNode => {
                self.server.kill9(0).expect("kills");
                self.goes_on().await
            }
            Fault::RestartNode => {
                self.server.restart(0).await.expect("restarts");
                self.goes_on().await
            }
            Fault::CleanRestart => {
                self.server.restart(1).await.expect("restarts");
                self.goes_on().await
            }
            Fault::FreezeNode => {
                let before = self.told();
                self.server.stop(2).expect("stops");
                // The time is the fault.
                tokio::time::sleep(SHORT).await;
                self.server.cont(2).expect("goes on");
                self.goes_on().await?;
                let lost: u64 = self.told().iter().zip(&before).map(|(now, before)| now.lost - before.lost).sum();
                Some(format!("a node stood still for {SHORT:?}, {lost} losses"))
            }
            Fault::MovePartitions => self.move_partitions().await,
            Fault::BlackHole => {
                let before = self.told();
                self.proxies.iter().for_each(|proxy| proxy.set_black_hole(Direction::BOTH));
                // The time is the fault.
                tokio::time::sleep(LEASE + LEASE / 2).await;
                self.proxies.iter().for_each(Proxy::heal);
                let mut noticed = 0;
                for (member, before) in self.members.iter().zip(&before) {
                    let hears = |now: &Told| now.lost > before.lost || now.disconnected > before.disconnected;
                    noticed += usize::from(member.until(hears).await);
                }
                (noticed == self.members.len()).then(|| format!("{noticed} members noticed unasked"))
            }
            Fault::VanishMember => {
                self.members.remove(0).vanish().await;
                let member = Member::join(&self.client, self.history.clone()).await;
                // It works once the other's lease is over.
                self.want(CALM * 6);
                let works = member.until(|told| told.handled > 0).await;
                self.members.push(member);
                works.then(|| "another took its place".to_owned())
            }
            Fault::TwoOfThree => {
                self.server.stop(1).expect("stops");
                self.server.kill9(2).expect("kills");
                // The time is the fault.
                tokio::time::sleep(SHORT).await;
                self.server.cont(1).expect("goes on");
                self.server.restart(2).await.expect("restarts");
                self.goes_on().await
            }
        }
    }

    fn told(&self) -> Vec<Told> {
        self.members.iter().map(|member| *member.told.borrow()).collect()
    }

    /// Waits until something new is delivered, which was published after the fault.
    async fn goes_on(&self) -> Option<String> {
        let at = Instant::now();
        self.more(CALM).await;
        Some(format!("{CALM} more after {:.1?}", at.elapsed()))
    }

    /// Each partition's copies change their order, so that another node leads.
    async fn move_partitions(&self) -> Option<String> {
        let before = self.leaders().await;
        let turned = |topic: &str, count: u32| {
            let one = move |number: u32| {
                let first = (number + 1) % 3;
                let copies = [first, (first + 1) % 3, (first + 2) % 3];
                format!(r#"{{"topic":"{topic}","partition":{number},"replicas":{copies:?}}}"#)
            };
            (0..count).map(one).collect::<Vec<_>>().join(",")
        };
        let (stream, offsets) = (turned(STREAM, super::PARTITIONS), turned("__consumer_offsets", 4));
        let plan = format!(r#"{{"version":1,"partitions":[{stream},{offsets}]}}"#);
        let file = self.server.directory().join("plan.json");
        std::fs::write(&file, plan).expect("writes");
        let file = file.display().to_string();
        let class = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
        self.server.tool(class, &["--reassignment-json-file", &file, "--execute"]).await.expect("moves");
        let elect = ["--election-type", "preferred", "--all-topic-partitions"];
        let elected = self.server.tool("org.apache.kafka.tools.LeaderElectionCommand", &elect).await;
        elected.expect("elects");
        let after = self.leaders().await;
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        self.goes_on().await?;
        (moved > 0).then(|| format!("{moved} of {} leaders moved", after.len()))
    }

    /// Who leads each partition.
    async fn leaders(&self) -> Vec<String> {
        let described = self.server.tool("org.apache.kafka.tools.TopicCommand", &["--describe"]).await.expect("topics");
        let leader = |line: &str| {
            line.split("Leader: ").nth(1).and_then(|rest| rest.split_whitespace().next().map(str::to_owned))
        };
        described.lines().filter_map(leader).collect()
    }
}
