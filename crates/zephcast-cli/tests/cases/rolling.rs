//! Four consumers of a group, restarted one after another while lines are published.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::lab::{LIMIT, Lab, Talk, run};

const LINES: usize = 20_000;
/// Lines a second: they come as long as consumers are restarted.
const RATE: &str = "2000";
const CONSUMERS: usize = 4;
const UNITS: u32 = 8;
/// How long a killed consumer keeps what it holds.
const LEASE: &str = "2s";
/// What was printed this long before its consumer was killed is settled. Acks are written every 200 ms at the latest, but for
/// a rebalance on Kafka: that waits for the one that was killed before, for a lease.
const WINDOW: Duration = Duration::from_secs(4);

#[tokio::test]
async fn consumers_that_are_restarted_in_good_order_lose_nothing_and_repeat_nothing() {
    let history = restart_each(Signal::TERM).await;
    assert_eq!(history.repeats(), [0_usize; 0], "lines that came twice");
}

#[tokio::test]
async fn consumers_that_are_killed_lose_nothing_and_repeat_only_what_they_had_just_printed() {
    let history = restart_each(Signal::KILL).await;
    for line in history.repeats() {
        // The one that came last settled it; whoever had it before was killed before it could.
        let times = &history.deliveries[&line];
        for delivery in &times[..times.len() - 1] {
            let killed = history.killed.get(&delivery.consumer);
            let is_in_window = killed.is_some_and(|killed| delivery.at + WINDOW > *killed);
            assert!(is_in_window, "line {line} came again: {times:?}, killed: {:?}", history.killed);
        }
    }
}

/// What came to whom.
#[derive(Default)]
struct History {
    /// By line.
    deliveries: BTreeMap<usize, Vec<Delivery>>,
    /// Who has a share of the stream.
    assigned: BTreeSet<usize>,
    /// Who was killed, and when.
    killed: BTreeMap<usize, Instant>,
}

/// A record that a consumer printed.
#[derive(Debug)]
struct News {
    consumer: usize,
    at: Instant,
    record: Value,
}

#[derive(Debug)]
struct Delivery {
    consumer: usize,
    at: Instant,
}

impl History {
    fn add(&mut self, News { consumer, at, record }: News) {
        match record["event"].as_str() {
            Some("assigned") => drop(self.assigned.insert(consumer)),
            Some("delivery") => {
                let line = record["payload"].as_str().and_then(|line| line.parse().ok()).expect("a number");
                self.deliveries.entry(line).or_default().push(Delivery { consumer, at });
            }
            _ => {}
        }
    }

    /// Lines that came more than once.
    fn repeats(&self) -> Vec<usize> {
        self.deliveries.iter().filter(|(_, times)| times.len() > 1).map(|(line, _)| *line).collect()
    }
}

/// Restarts each consumer by this signal, and returns when every line was handled and everybody has left.
async fn restart_each(signal: Signal) -> History {
    let lab = Lab::start_with_units(UNITS).await;
    let stream = lab.stream();
    assert_eq!(lab.run(&["stream", "create", &stream], "").await.code, 0);
    let (tell, mut news) = mpsc::unbounded_channel();
    let mut history = History::default();
    let mut consumers = Vec::new();
    for number in 0..CONSUMERS {
        consumers.push(Consumer::start(&lab, &stream, number, &tell));
    }
    hear(&mut news, &mut history, |history| history.assigned.len() == CONSUMERS).await;

    let publish = lab.command(&["publish", &stream, "--rate", RATE]);
    let lines: Vec<String> = (1..=LINES).map(|line| line.to_string()).collect();
    let published = tokio::spawn(async move { run(publish, lines.join("\n").as_bytes()).await });
    for number in 0..CONSUMERS {
        // The restarts are spread over the load.
        let due = (number + 1) * LINES / (CONSUMERS + 1);
        hear(&mut news, &mut history, |history| history.deliveries.len() >= due).await;
        if signal == Signal::KILL {
            history.killed.insert(number, Instant::now());
        }
        consumers.remove(0).end(signal).await;
        let next = CONSUMERS + number;
        consumers.push(Consumer::start(&lab, &stream, next, &tell));
        hear(&mut news, &mut history, |history| history.assigned.contains(&next)).await;
    }
    let published = published.await.expect("the publisher");
    assert_eq!((published.code, &published.of("summary")[0]["stored"]), (0, &LINES.into()));
    hear(&mut news, &mut history, |history| history.deliveries.len() == LINES).await;
    // What a dead one had not settled comes again, and only then is nothing left.
    lab.status_when(&stream, |status| status["lag"] == 0).await;
    for consumer in consumers {
        consumer.end(Signal::TERM).await;
    }
    drop(tell);
    hear(&mut news, &mut history, |_| false).await;
    history
}

/// Takes news until the history is like this, or until there are none any more.
async fn hear(news: &mut mpsc::UnboundedReceiver<News>, history: &mut History, is: impl Fn(&History) -> bool) {
    let heard = timeout(LIMIT, async {
        while !is(history) {
            let Some(news) = news.recv().await else { break };
            history.add(news);
        }
    });
    let heard = heard.await;
    let missing: Vec<_> = (1..=LINES).filter(|line| !history.deliveries.contains_key(line)).take(20).collect();
    assert!(heard.is_ok(), "assigned: {:?}; not come, among others: {missing:?}", history.assigned);
}

/// A running `zephcast consume`, whose records are told as they come.
struct Consumer {
    signal: oneshot::Sender<Signal>,
    ended: JoinHandle<(i32, Vec<Value>, String)>,
}

impl Consumer {
    fn start(lab: &Lab, stream: &str, number: usize, tell: &mpsc::UnboundedSender<News>) -> Self {
        let talk = lab.talk(&["consume", stream, "--group", "g", "--lease", LEASE]);
        let (signal, told) = oneshot::channel();
        Self { signal, ended: tokio::spawn(watch(talk, number, tell.clone(), told)) }
    }

    /// Sends it a signal and waits for its end, which is a clean one where it could be.
    async fn end(self, signal: Signal) {
        self.signal.send(signal).expect("it runs");
        let (code, heard, stderr) = self.ended.await.expect("heard to its end");
        if signal == Signal::KILL {
            assert_eq!(code, -1, "it was killed: {stderr}");
        } else {
            assert_eq!((code, &heard.last().expect("a report")["clean"]), (0, &true.into()), "{stderr}");
        }
    }
}

/// Tells each record until the end, and passes a signal on.
async fn watch(
    mut talk: Talk,
    number: usize,
    tell: mpsc::UnboundedSender<News>,
    mut told: oneshot::Receiver<Signal>,
) -> (i32, Vec<Value>, String) {
    let mut is_told = false;
    loop {
        tokio::select! {
            signal = &mut told, if !is_told => {
                is_told = true;
                talk.signal(signal.expect("a signal comes before the end"));
            }
            record = talk.next() => match record {
                Some(record) => {
                    let news = News { consumer: number, at: Instant::now(), record };
                    tell.send(news).expect("somebody listens");
                },
                None => return talk.finish().await,
            },
        }
    }
}
