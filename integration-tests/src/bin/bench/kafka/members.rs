//! A group of several members in one process. Until each has its share of the partitions they handle a message now and
//! then, so that nothing waits for a member while partitions move. Then they run; the clock starts when what was fetched
//! meanwhile is handled.

use std::hint::black_box;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rdkafka::consumer::{CommitMode, Consumer};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use zephcast::Client;

use super::batches::{Batched, Reader};
use super::frontier::Frontier;
use super::settings::{Protocol, consuming};
use super::{CLOSING, PARTITIONS, PATIENCE};
use crate::Outcome;
use crate::measure::{Sample, Stopwatch};

pub(super) const MEMBERS: usize = 3;
/// How often a member handles a message before the start.
const EASY: Duration = Duration::from_millis(10);
/// How long members have had their shares at the start.
const SETTLED: Duration = Duration::from_millis(500);
/// How many messages a member handles before it tells the others.
const TOLD: usize = 1_000;

/// More messages than members fetch ahead together.
const AHEAD: usize = 200_000;

/// What the members of a group know of each other.
struct Race {
    began: AtomicBool,
    handled: AtomicUsize,
    all: usize,
    /// How many are handled when the clock starts.
    ahead: usize,
    /// The clock, and how many were handled then.
    clock: OnceLock<(Stopwatch, usize)>,
    over: watch::Sender<bool>,
}

impl Race {
    fn new(all: usize) -> Self {
        Self {
            began: AtomicBool::new(false),
            handled: AtomicUsize::new(0),
            all,
            ahead: AHEAD.min(all / 2),
            clock: OnceLock::new(),
            over: watch::Sender::new(false),
        }
    }

    fn has_begun(&self) -> bool {
        self.began.load(SeqCst)
    }

    fn handled(&self, count: usize) {
        let handled = self.handled.fetch_add(count, SeqCst) + count;
        if handled >= self.ahead {
            self.clock.get_or_init(|| (Stopwatch::start(), handled));
        }
        if handled >= self.all {
            self.over.send_replace(true);
        }
    }

    fn is_over(&self) -> bool {
        *self.over.borrow()
    }
}

/// Who reads.
#[derive(Clone, Copy)]
pub(super) enum Who {
    Raw,
    Ours,
}

/// Has a filled topic handled by a new group; at the end every ack is durable.
pub(super) async fn consume(
    who: Who,
    client: Client,
    server: String,
    topic: String,
    group: String,
    messages: usize,
) -> Outcome<Sample> {
    let race = Arc::new(Race::new(messages));
    match who {
        Who::Ours => {
            let member = || tokio::spawn(ours(client.clone(), topic.clone(), group.clone(), race.clone()));
            let (consumers, sample) = run([(); MEMBERS].map(|()| member()), &client, &topic, &group, &race).await?;
            for consumer in consumers {
                consumer.close(CLOSING).await?;
            }
            Ok(sample)
        }
        Who::Raw => {
            let member = || {
                let (server, topic, group, race) = (server.clone(), topic.clone(), group.clone(), race.clone());
                spawn_blocking(move || raw(&server, &topic, &group, &race))
            };
            let (consumers, sample) = run([(); MEMBERS].map(|()| member()), &client, &topic, &group, &race).await?;
            spawn_blocking(move || drop(consumers)).await?;
            Ok(sample)
        }
    }
}

/// Runs members from the start to the end, when they give their consumers back.
async fn run<T>(
    members: [JoinHandle<Outcome<T>>; MEMBERS],
    client: &Client,
    topic: &str,
    group: &str,
    race: &Race,
) -> Outcome<(Vec<T>, Sample)> {
    let shared = share(client, topic, group).await;
    race.began.store(true, SeqCst);
    let mut over = race.over.subscribe();
    let ended = tokio::time::timeout(2 * PATIENCE, over.wait_for(|over| *over)).await.map(drop);
    // Also when it was no race.
    race.over.send_replace(true);
    let mut consumers = Vec::with_capacity(MEMBERS);
    for member in members {
        consumers.push(member.await??);
    }
    let sample = race.clock.get().map(|(watch, before)| watch.stop(race.all.saturating_sub(*before)));
    shared?;
    ended.map_err(|_| "the members do not come to an end")?;
    Ok((consumers, sample.ok_or("the clock did not start")?))
}

/// Waits until each member has its share.
async fn share(client: &Client, topic: &str, group: &str) -> Outcome<()> {
    let began = Instant::now();
    loop {
        if let Ok(status) = client.group_status(topic, group).await {
            let mut shares: Vec<usize> = status.members.iter().map(|member| member.units.len()).collect();
            shares.sort_unstable();
            if shares == [PARTITIONS / MEMBERS; MEMBERS] {
                tokio::time::sleep(SETTLED).await;
                return Ok(());
            }
        }
        if began.elapsed() > PATIENCE {
            return Err("the members have not got a share each".into());
        }
        tokio::time::sleep(10 * EASY).await;
    }
}

async fn ours(client: Client, topic: String, group: String, race: Arc<Race>) -> Outcome<zephcast::Consumer> {
    let mut consumer = client.consumer(&topic).group(&group).start().await?;
    while !race.has_begun() {
        tokio::time::sleep(EASY).await;
        if let Some(delivery) = consumer.next().now_or_never() {
            // What was another one's in between comes to that one.
            race.handled(usize::from(delivery.ok_or("the consumer ended")??.ack().is_ok()));
        }
    }
    let (mut over, mut handled) = (race.over.subscribe(), 0);
    loop {
        let delivery = match consumer.next().now_or_never() {
            Some(delivery) => delivery,
            None => {
                race.handled(mem::take(&mut handled));
                tokio::select! {
                    delivery = consumer.next() => delivery,
                    _ = over.wait_for(|over| *over) => break,
                }
            }
        };
        let delivery = delivery.ok_or("the consumer ended")??;
        black_box(delivery.payload());
        delivery.ack()?;
        handled += 1;
        if handled == TOLD {
            race.handled(mem::take(&mut handled));
        }
    }
    consumer.commit().await?;
    Ok(consumer)
}

fn raw(server: &str, topic: &str, group: &str, race: &Race) -> Outcome<Batched> {
    let consumer: Batched = consuming(server, group, Protocol::Classic).create_with_context(Default::default())?;
    let mut reader = Reader::new(&consumer)?;
    consumer.subscribe(&[topic])?;
    let mut frontier = Frontier::new(topic);
    while !race.has_begun() {
        consumer.poll(Duration::ZERO).transpose()?;
        race.handled(reader.read(1, EASY, |record| frontier.handled(record.partition(), record.offset()))?);
        // Refused while partitions move: then it comes again. Afterwards they may be another one's.
        let _ = frontier.commit(&consumer, CommitMode::Sync);
        frontier.forget();
        thread::park_timeout(EASY);
    }
    while !race.is_over() {
        consumer.poll(Duration::ZERO).transpose()?;
        let count = reader.read(usize::MAX, Duration::from_millis(1), |record| {
            black_box(record.payload());
            frontier.handled(record.partition(), record.offset());
        })?;
        race.handled(count);
        frontier.commit_sometimes(&consumer)?;
    }
    frontier.commit(&consumer, CommitMode::Sync)?;
    drop(reader);
    Ok(consumer)
}
