//! `cargo run -p zephcast-rabbit --example rabbitmq_competing_consumers [URL]`
//!
//! Three workers compete for the tasks of one queue, each busy for a second with each task: each task is done once, and
//! every worker has a share. With the typed configuration of `zephcast-rabbit`, which names the queue, and no other
//! broker in the build. Without a URL the environment is read (`RABBITMQ_URL` or `AMQP_URL`), and without that it is
//! `amqp://localhost:5672`.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use zephcast_rabbit::{Client, CloseReport, Consumer, ErrorKind, GroupName, Message, RabbitConfig, StreamName};

const WORKERS: usize = 3;
const TASKS: usize = 9;
const WORK: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(14);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let is_set = |name| std::env::var_os(name).is_some();
    let config = match std::env::args().nth(1) {
        Some(url) => RabbitConfig::from_url(&url)?,
        None if is_set("RABBITMQ_URL") || is_set("AMQP_URL") => RabbitConfig::from_env()?,
        None => RabbitConfig::new("localhost", RabbitConfig::PORT),
    };
    // Names of its own for each run, so that a second run finds nothing of the first.
    let stream = StreamName::new(format!("task-queue-{}", std::process::id()))?;
    let queue = format!("shared-queue-{}", std::process::id());
    let client = config.queue(&queue).connect_timeout(Duration::from_secs(5)).connect().await?;
    let group = GroupName::new("workers")?;

    tokio::time::timeout(WITHIN, compete(&client, &stream, &group)).await??;
    client.admin().delete_group(&stream, &group).await?;
    match client.admin().delete_stream(&stream).await {
        // Only the management API knows whether other groups are left, and here there are none.
        Err(error) if error.kind() == ErrorKind::Unsupported => println!("the exchange {stream} stays: {error}"),
        deleted => deleted?,
    }
    client.close(WITHIN).await?;
    Ok(())
}

async fn compete(client: &Client, stream: &StreamName, group: &GroupName) -> Result<(), Box<dyn Error>> {
    let (tell, mut done) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        // One task at a time: what a worker has fetched is not for the others.
        let consumer = client.consumer(stream).group(group).member(format!("worker-{n}")).prefetch(1).start().await?;
        workers.push(tokio::spawn(work(consumer, n, tell.clone(), stopped.clone())));
    }
    drop(tell);

    // After the workers, since RabbitMQ keeps messages for queues that there are.
    let publisher = client.publisher(stream).await?;
    let began = Instant::now();
    for receipt in publisher.publish_all((0..TASKS).map(|n| Message::new(format!("task {n}")))).await {
        receipt?;
    }
    let mut by_task: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_worker: BTreeMap<usize, usize> = BTreeMap::new();
    let mut note = |(worker, task): (usize, String)| {
        *by_worker.entry(worker).or_default() += 1;
        *by_task.entry(task).or_default() += 1;
        by_task.len()
    };
    while note(done.recv().await.ok_or("the workers ended early")?) < TASKS {}
    let took = began.elapsed();

    stop.send_replace(true);
    for worker in workers {
        let report = worker.await??;
        assert!(report.clean, "{report:?}");
    }
    // Whatever came twice came before they left.
    while let Some(extra) = done.recv().await {
        note(extra);
    }
    println!("tasks by worker: {by_worker:?}, {TASKS} tasks of {WORK:?} in {took:.1?}");
    assert!(by_task.values().all(|times| *times == 1), "each task was done once: {by_task:?}");
    assert!(by_worker.keys().copied().eq(0..WORKERS), "every worker had a share");
    assert!(took < WORK * TASKS as u32 * 2 / 3, "they worked side by side");
    Ok(())
}

/// One worker, until told to stop.
async fn work(
    mut consumer: Consumer,
    n: usize,
    done: mpsc::UnboundedSender<(usize, String)>,
    mut stopped: watch::Receiver<bool>,
) -> zephcast_rabbit::Result<CloseReport> {
    loop {
        let delivery = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            delivery = consumer.next() => delivery,
        };
        let Some(delivery) = delivery else { break };
        let delivery = delivery?;
        let task = delivery.payload_str()?.to_owned();
        println!("Worker {n} processing: {task}");
        tokio::time::sleep(WORK).await;
        delivery.ack()?;
        // Whoever counts is there as long as the workers are.
        let _ = done.send((n, task));
    }
    consumer.close(WITHIN).await
}
