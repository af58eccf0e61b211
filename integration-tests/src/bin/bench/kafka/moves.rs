//! How long nothing comes of a partition that moves: when a second member joins, and when it leaves in good order.
//!
//! A producer of its own sends to every partition all the time, so that every gap is the group's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, ThreadedProducer};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use zephcast::Client;

use super::lab::Lab;
use super::reports::Reports;
use super::settings::{Protocol, consuming, producing};
use super::{CLOSING, PARTITIONS, PATIENCE, SLICE};
use crate::Outcome;
use crate::report::Row;

/// How often each partition gets a message.
const EVERY: Duration = Duration::from_millis(5);
/// How long each member has had its part before the next change.
const SETTLED: Duration = Duration::from_secs(1);
/// The query of a URL with which groups go by KIP-848.
const KIP_848: &str = "?group-protocol=consumer";

/// Who reads.
#[derive(Clone)]
enum Who {
    Raw { server: String, protocol: Protocol },
    Ours(Client),
}

/// How long partitions pause that move, in the median of the rounds.
pub(super) async fn measure(
    lab: &Lab,
    rounds: usize,
    protocol: Protocol,
    cases: [&'static str; 2],
) -> Outcome<[Row; 2]> {
    let url = match protocol {
        Protocol::Kip848 => format!("{}{KIP_848}", lab.url),
        Protocol::Classic => lab.url.clone(),
    };
    let sides = [Who::Raw { server: lab.server.clone(), protocol }, Who::Ours(zephcast::connect(&url).await?)];
    // By case, and there by side.
    let mut found = [const { [Vec::new(), Vec::new()] }; 2];
    for round in 0..rounds {
        for turn in 0..sides.len() {
            let side = (round + turn) % sides.len();
            let (who, server, group) = (sides[side].clone(), lab.server.clone(), lab.name());
            let pauses = lab.with_topic(async |topic| pauses(&who, &server, &topic, &group).await).await?;
            for (found, pause) in found.iter_mut().zip(pauses) {
                found[side].push(pause);
            }
        }
    }
    let [join, leave] = found.map(|sides| sides.map(middle));
    let row = |case, [raw, ours]: [f64; 2]| Row { broker: "kafka", case, pauses: Some((raw, ours)), ..Row::default() };
    Ok([row(cases[0], join), row(cases[1], leave)])
}

/// In milliseconds.
fn middle(mut pauses: Vec<Duration>) -> f64 {
    pauses.sort();
    pauses.get(pauses.len() / 2).map_or(f64::NAN, |pause| pause.as_secs_f64() * 1e3)
}

/// Which member handled a message when.
#[derive(Clone, Copy)]
struct Sighting {
    at: Instant,
    member: usize,
}

/// What was handled of each partition, in order.
#[derive(Clone)]
struct Sightings(Arc<Mutex<Vec<Vec<Sighting>>>>);

impl Sightings {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Sighting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The payload is the partition.
    fn handled(&self, payload: &[u8], member: usize) {
        let Some(partition) = payload.first() else { return };
        if let Some(seen) = self.lock().get_mut(usize::from(*partition)) {
            seen.push(Sighting { at: Instant::now(), member });
        }
    }

    /// Waits until each member has handled something of so many partitions as the last one.
    async fn settle(&self, shares: [usize; 2]) -> Outcome<()> {
        let began = Instant::now();
        loop {
            let mut last = [0; 2];
            for seen in self.lock().iter() {
                if let Some(seen) = seen.last() {
                    last[seen.member] += 1;
                }
            }
            if last == shares {
                tokio::time::sleep(SETTLED).await;
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("the members have {last:?} partitions, not {shares:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The longest time without a message of the partitions that moved to `member` since `began`.
    fn pause(&self, member: usize, began: Instant) -> Outcome<Duration> {
        let moved = |seen: &Vec<Sighting>| {
            let first = seen.iter().position(|seen| seen.at > began && seen.member == member)?;
            let (before, after) = (seen.get(first.checked_sub(1)?)?, seen.get(first)?);
            (before.member != member).then(|| after.at.duration_since(before.at))
        };
        Ok(self.lock().iter().filter_map(moved).max().ok_or("no partition moved")?)
    }
}

/// A member at work.
struct Member {
    stop: watch::Sender<bool>,
    work: JoinHandle<Outcome<()>>,
}

impl Member {
    fn start(who: &Who, topic: &str, group: &str, number: usize, sightings: &Sightings) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (topic, group, sightings) = (topic.to_owned(), group.to_owned(), sightings.clone());
        let work = match who.clone() {
            Who::Ours(client) => tokio::spawn(ours(client, topic, group, number, sightings, stopped)),
            Who::Raw { server, protocol } => spawn_blocking(move || {
                let consumer = consuming(&server, &group, protocol);
                raw(consumer, &topic, number, &sightings, &stopped)
            }),
        };
        Self { stop, work }
    }

    async fn leave(self) -> Outcome<()> {
        self.stop.send_replace(true);
        self.work.await?
    }
}

async fn ours(
    client: Client,
    topic: String,
    group: String,
    number: usize,
    sightings: Sightings,
    mut stopped: watch::Receiver<bool>,
) -> Outcome<()> {
    let mut consumer = client.consumer(&topic).group(&group).start().await?;
    loop {
        tokio::select! {
            delivery = consumer.next() => {
                let delivery = delivery.ok_or("the consumer ended")??;
                sightings.handled(delivery.payload(), number);
                delivery.ack()?;
            }
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
    consumer.close(CLOSING).await?;
    Ok(())
}

/// The library commits what was handled, once in a while and when a partition goes.
fn raw(
    mut settings: ClientConfig,
    topic: &str,
    number: usize,
    sightings: &Sightings,
    stopped: &watch::Receiver<bool>,
) -> Outcome<()> {
    settings.set("enable.auto.commit", "true").set("auto.commit.interval.ms", "200");
    let consumer: BaseConsumer = settings.create()?;
    consumer.subscribe(&[topic])?;
    while !*stopped.borrow() {
        let Some(message) = consumer.poll(SLICE).transpose()? else { continue };
        sightings.handled(message.payload().unwrap_or_default(), number);
        consumer.store_offset_from_message(&message)?;
    }
    Ok(())
}

/// The pauses of a join and of a leave.
async fn pauses(who: &Who, server: &str, topic: &str, group: &str) -> Outcome<[Duration; 2]> {
    let sightings = Sightings(Arc::new(Mutex::new(vec![Vec::new(); PARTITIONS])));
    let (stop, stopped) = watch::channel(false);
    let feeding = tokio::spawn(feed(server.to_owned(), topic.to_owned(), stopped));
    let first = Member::start(who, topic, group, 0, &sightings);
    sightings.settle([PARTITIONS, 0]).await?;
    let began = Instant::now();
    let second = Member::start(who, topic, group, 1, &sightings);
    sightings.settle([PARTITIONS / 2, PARTITIONS - PARTITIONS / 2]).await?;
    let join = sightings.pause(1, began)?;
    let began = Instant::now();
    second.leave().await?;
    sightings.settle([PARTITIONS, 0]).await?;
    let leave = sightings.pause(0, began)?;
    first.leave().await?;
    stop.send_replace(true);
    feeding.await??;
    Ok([join, leave])
}

async fn feed(server: String, topic: String, stopped: watch::Receiver<bool>) -> Outcome<()> {
    let producer: ThreadedProducer<Reports> = producing(&server).create_with_context(Reports::new())?;
    let mut ticks = tokio::time::interval(EVERY);
    while !*stopped.borrow() {
        ticks.tick().await;
        for partition in 0..PARTITIONS {
            let payload = [partition as u8];
            let record = BaseRecord::<'_, [u8], [u8]>::to(&topic).payload(&payload[..]).partition(partition as i32);
            producer.send(record).map_err(|(error, _)| error)?;
        }
    }
    // It waits for its thread.
    Ok(spawn_blocking(move || drop(producer)).await?)
}
