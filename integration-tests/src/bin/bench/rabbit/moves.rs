//! How long messages wait while a second member joins a group, and while it leaves in good order.
//!
//! A publisher of its own sends all the time, so that a message that waits long waits for the group.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use zephcast::Client;

use super::Lab;
use super::raw::{Feed, Member as Raw};
use crate::Outcome;
use crate::joined::CLOSING;
use crate::ours::GROUP;
use crate::report::Row;

/// How often a message is published.
const EVERY: Duration = Duration::from_millis(1);
/// How long each member has had its part before the next change, and after it.
const SETTLED: Duration = Duration::from_secs(1);
/// How long nothing may come before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who reads.
#[derive(Clone)]
enum Who {
    Raw(String),
    Ours(Client),
}

/// The longest that a message took, in the median of the rounds.
pub(super) async fn measure(lab: &Lab, rounds: usize) -> Outcome<[Row; 2]> {
    let sides = [Who::Raw(lab.url.clone()), Who::Ours(lab.client.clone())];
    // By case, and there by side.
    let mut found = [const { [Vec::new(), Vec::new()] }; 2];
    for round in 0..rounds {
        for turn in 0..sides.len() {
            let side = (round + turn) % sides.len();
            let waits = lab.with_stream(async |stream| waits(&sides[side], &lab.url, &stream).await).await?;
            for (found, wait) in found.iter_mut().zip(waits) {
                found[side].push(wait);
            }
        }
    }
    let [join, leave] = found.map(|sides| sides.map(middle));
    let row =
        |case, [raw, ours]: [f64; 2]| Row { broker: "rabbitmq", case, pauses: Some((raw, ours)), ..Row::default() };
    Ok([row("join", join), row("leave", leave)])
}

/// In milliseconds.
fn middle(mut waits: Vec<Duration>) -> f64 {
    waits.sort();
    waits.get(waits.len() / 2).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
}

/// What was handled. A payload is a message's number and when it was published.
struct Sightings {
    began: Instant,
    published: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Handled by anybody.
    seen: BTreeSet<u64>,
    by_member: [u64; 2],
    longest: Duration,
}

impl Sightings {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number and payload of the next message.
    fn stamp(&self) -> (u64, [u8; 16]) {
        let number = self.published.fetch_add(1, SeqCst);
        let now = self.began.elapsed().as_nanos() as u64;
        (number, ((u128::from(number) << 64) | u128::from(now)).to_be_bytes())
    }

    fn handled(&self, payload: &[u8], member: usize) {
        let Ok(stamp) = payload.try_into().map(u128::from_be_bytes) else { return };
        let age = self.began.elapsed().saturating_sub(Duration::from_nanos(stamp as u64));
        let mut state = self.lock();
        if state.seen.insert((stamp >> 64) as u64) {
            state.longest = state.longest.max(age);
        }
        state.by_member[member] += 1;
    }

    /// Waits until `is_so`.
    async fn until(&self, is_so: impl Fn(&State) -> bool) -> Outcome<()> {
        let began = Instant::now();
        while !is_so(&self.lock()) {
            if began.elapsed() > PATIENCE {
                return Err("messages do not come".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// The longest that a message took from the start of the change until a while after it.
    async fn longest(&self, change: impl Future<Output = Outcome<()>>) -> Outcome<Duration> {
        self.lock().longest = Duration::ZERO;
        change.await?;
        tokio::time::sleep(SETTLED).await;
        let published = self.published.load(SeqCst);
        self.until(|state| state.seen.range(..published).count() as u64 == published).await?;
        Ok(self.lock().longest)
    }
}

/// A member at work.
struct Member {
    stop: watch::Sender<bool>,
    work: JoinHandle<Outcome<()>>,
}

impl Member {
    fn start(who: &Who, stream: &str, number: usize, sightings: &Arc<Sightings>) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let (stream, sightings) = (stream.to_owned(), sightings.clone());
        let handled = move |payload: &[u8]| sightings.handled(payload, number);
        let stopped = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
        let work = match who.clone() {
            Who::Ours(client) => tokio::spawn(ours(client, stream, handled, stopped)),
            Who::Raw(url) => tokio::spawn(async move { Raw::join(&url, &stream).await?.work(handled, stopped).await }),
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
    stream: String,
    handled: impl Fn(&[u8]),
    stopped: impl Future<Output = ()>,
) -> Outcome<()> {
    let mut consumer = client.consumer(&stream).group(GROUP).start().await?;
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            delivery = consumer.next() => {
                let delivery = delivery.ok_or("the consumer ended")??;
                handled(delivery.payload());
                delivery.ack()?;
            }
            () = &mut stopped => break,
        }
    }
    consumer.close(CLOSING).await?;
    Ok(())
}

/// The longest waits at a join and at a leave.
async fn waits(who: &Who, url: &str, stream: &str) -> Outcome<[Duration; 2]> {
    let sightings =
        Arc::new(Sightings { began: Instant::now(), published: AtomicU64::new(0), state: Mutex::default() });
    let (stop, stopped) = watch::channel(false);
    let feeding = tokio::spawn(feed(url.to_owned(), stream.to_owned(), sightings.clone(), stopped));
    let first = Member::start(who, stream, 0, &sightings);
    sightings.until(|state| state.by_member[0] > 0).await?;
    tokio::time::sleep(SETTLED).await;
    let mut second = None;
    let joined = sightings.longest(async {
        second = Some(Member::start(who, stream, 1, &sightings));
        sightings.until(|state| state.by_member[1] > 0).await
    });
    let join = joined.await?;
    let leave = sightings.longest(second.ok_or("nobody joined")?.leave()).await?;
    first.leave().await?;
    stop.send_replace(true);
    feeding.await??;
    Ok([join, leave])
}

async fn feed(url: String, stream: String, sightings: Arc<Sightings>, stopped: watch::Receiver<bool>) -> Outcome<()> {
    let feed = Feed::open(&url, &stream).await?;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !*stopped.borrow() {
        ticks.tick().await;
        let (number, payload) = sightings.stamp();
        feed.send(number, payload).await;
    }
    feed.close().await
}
