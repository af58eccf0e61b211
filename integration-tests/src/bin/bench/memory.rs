//! The embedded broker: what the engine costs when the broker costs next to nothing.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zephcast::{Client, Consumer};

use crate::measure::{Sample, Side, Stopwatch, in_turns};
use crate::options::Options;
use crate::report::{Mark, Report, Row};
use crate::{Outcome, ours};

const STREAM: &str = "bench";
const CLOSING: Duration = Duration::from_secs(10);
/// Nothing here waits for a server, so a round takes more messages.
const TIMES: usize = 5;
const LATENCY_ROUNDS: usize = 3;

pub(crate) async fn measure(options: &Options, report: &mut Report) -> Outcome<()> {
    let messages = options.messages * TIMES;
    let publish = Side::new(move || async move { ours::publish(broker().await?, STREAM.into(), messages).await });
    let consume = Side::new(move || members(messages));
    let group = Side::new(move || async move { ours::handle(filled(messages).await?, STREAM.into(), messages).await });
    let [publish, consume, group] = in_turns(options.rounds, [publish, consume, group]).await?;
    report.add(row("publish", publish, Vec::new()))?;
    let mark = Mark { text: "> 5 M/s by 2 members", reached: consume.per_second > 5e6 };
    report.add(row("consume", consume, vec![mark]))?;
    report.add(row("group", group, Vec::new()))?;
    let latency = Side::new(|| async { ours::latency(broker().await?, STREAM.into()).await });
    let [latency] = in_turns(options.rounds.min(LATENCY_ROUNDS), [latency]).await?;
    let mark = Mark { text: "p99 < 5 ms", reached: latency.p99_us.is_some_and(|p99| p99 < 5_000.0) };
    report.add(row("latency", latency, vec![mark]))
}

/// A broker of its own for each round.
async fn broker() -> Outcome<Client> {
    Ok(zephcast::connect("memory://").await?)
}

async fn filled(messages: usize) -> Outcome<Client> {
    let client = broker().await?;
    ours::fill(&client.publisher(STREAM).await?, messages).await?;
    Ok(client)
}

/// Two members of a group, each in a task of its own.
async fn members(messages: usize) -> Outcome<Sample> {
    let client = broker().await?;
    client.publisher(STREAM).await?;
    let members = [member(&client).await?, member(&client).await?];
    // Joined before, so that units do not move meanwhile; what they prefetch early is a window each.
    ours::fill(&client.publisher(STREAM).await?, messages).await?;
    let watch = Stopwatch::start();
    let (left, all) = (Arc::new(AtomicUsize::new(messages)), watch::Sender::new(false));
    let tasks = members.map(|member| tokio::spawn(take(member, left.clone(), all.clone())));
    for task in tasks {
        task.await??;
    }
    Ok(watch.stop(messages))
}

async fn member(client: &Client) -> Outcome<Consumer> {
    Ok(client.consumer(STREAM).group(ours::GROUP).start().await?)
}

/// Handles messages until nothing of the whole group's is left.
async fn take(mut member: Consumer, left: Arc<AtomicUsize>, all: watch::Sender<bool>) -> Outcome<()> {
    let mut ended = all.subscribe();
    let mut handled = 0;
    loop {
        let delivery = match member.next().now_or_never() {
            Some(next) => next,
            // Members share a counter, which is touched only when there is nothing else to do.
            None => {
                if left.fetch_sub(handled, Ordering::SeqCst) == handled {
                    all.send_replace(true);
                }
                handled = 0;
                tokio::select! {
                    next = member.next() => next,
                    _ = ended.wait_for(|ended| *ended) => break,
                }
            }
        };
        let delivery = delivery.ok_or("the consumer ended")??;
        black_box(delivery.payload());
        delivery.ack()?;
        handled += 1;
    }
    member.commit().await?;
    let closing: JoinHandle<_> = tokio::spawn(member.close(CLOSING));
    drop(closing);
    Ok(())
}

fn row(case: &'static str, ours: Sample, marks: Vec<Mark>) -> Row {
    Row { broker: "memory", case, ours: Some(ours), marks, ..Row::default() }
}
