//! `cargo run --example competing_workers [URL]`
//!
//! Workers that compete for the tasks of one queue, each busy for a while with each task; and then steps of orders that
//! must not overtake each other: handled side by side, but in order for each order. Without a URL the embedded broker
//! is used.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use zephcast::driver::StreamSpec;
use zephcast::{Client, Delivery, Event, HandlerError, Message, Order, connect};

const WORKERS: usize = 3;
const PARTITIONS: u32 = 6;
const TASKS: usize = 30;
const WORK: Duration = Duration::from_millis(100);
const ORDERS: usize = 6;
const STEPS: usize = 5;
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".into());
    let client = connect(&url).await?;
    tokio::time::timeout(Duration::from_secs(14), async {
        compete(&client).await?;
        keep_order(&client).await
    })
    .await??;
    client.close(LEAVE_WITHIN).await?;
    Ok(())
}

/// Three workers take turns with thirty tasks: each task is done once, and all of it in a third of the time.
async fn compete(client: &Client) -> Result<(), Box<dyn Error>> {
    let queue = format!("task-queue-{}", std::process::id());
    create(client, &queue, "shared-queue").await?;

    let done = RefCell::new(BTreeMap::<String, Vec<String>>::new());
    let all_done = Notify::new();
    let handler = async |delivery: &Delivery| {
        println!("{} processing: {}", delivery.member(), delivery.payload_str()?);
        tokio::time::sleep(WORK).await;
        let mut done = done.borrow_mut();
        done.entry(delivery.member().to_string()).or_default().push(delivery.payload_str()?.to_owned());
        if done.values().map(Vec::len).sum::<usize>() == TASKS {
            all_done.notify_one();
        }
        Ok::<_, zephcast::Error>(())
    };
    // A small prefetch: a worker takes what it is about to do and leaves the rest to the others.
    let group = client.group(&queue, "shared-queue").member("worker").members(WORKERS).prefetch(2);
    let (ready, mut is_ready) = mpsc::unbounded_channel();
    let group = group.on_event(move |member, event| {
        if let Event::Assigned(_) = event {
            // Nobody listens any more once all are ready.
            let _ = ready.send(member.clone());
        }
    });
    // The tasks come when every worker has a place in the queue; keys spread them over all of it.
    let begin = async {
        let mut workers = BTreeSet::new();
        while workers.len() < WORKERS {
            workers.insert(is_ready.recv().await.ok_or("the workers ended early")?);
        }
        let began = Instant::now();
        let tasks = (0..TASKS).map(|n| Message::new(format!("task {n}")).with_key(n.to_string()));
        publish(client, &queue, tasks).await?;
        Ok::<_, Box<dyn Error>>(began)
    };
    let (report, began) = tokio::join!(group.run(handler, all_done.notified()), begin);
    let (report, took) = (report?, began?.elapsed());

    let done = done.into_inner();
    for (worker, tasks) in &done {
        println!("{worker}: {} tasks", tasks.len());
    }
    println!("{TASKS} tasks of {WORK:?} in {took:.1?} by {WORKERS} workers");
    let mut tasks: Vec<&String> = done.values().flatten().collect();
    tasks.sort();
    tasks.dedup();
    assert_eq!((tasks.len(), report.acked), (TASKS, TASKS as u64), "each task was done exactly once");
    assert_eq!(done.len(), WORKERS, "each worker had a part");
    assert!(took < WORK * TASKS as u32 * 2 / 3, "they worked side by side");
    assert!(report.clean);
    client.admin().delete_stream(&queue.parse()?).await?;
    Ok(())
}

/// Steps of several orders: one after another for each order, through a failed attempt too, and several orders at a
/// time.
async fn keep_order(client: &Client) -> Result<(), Box<dyn Error>> {
    let stream = format!("steps-{}", std::process::id());
    let all = (0..STEPS).flat_map(|step| (0..ORDERS).map(move |order| (order, step)));
    let messages = all.map(|(order, step)| Message::new(step.to_string()).with_key(format!("order {order}")));
    create(client, &stream, "shipping").await?;
    publish(client, &stream, messages).await?;

    // Where a unit belongs to one member at a time, order by key holds for any number of members; else for one.
    let members = if client.capabilities().order == Order::Unit { WORKERS } else { 1 };
    let steps = RefCell::new(BTreeMap::<String, Vec<String>>::new());
    let (running, most) = (Cell::new(0), Cell::new(0));
    let all_done = Notify::new();
    let handler = async |delivery: &Delivery| {
        running.set(running.get() + 1);
        most.set(running.get().max(most.get()));
        tokio::time::sleep(WORK / 2).await;
        running.set(running.get() - 1);

        let (order, step) = (String::from_utf8_lossy(delivery.key().ok_or_else(no_key)?), delivery.payload_str()?);
        if step == "2" && delivery.attempt() == 1 {
            println!("{order}, step {step} fails at first; its next step waits");
            return Err(HandlerError::retry("not yet"));
        }
        let mut steps = steps.borrow_mut();
        steps.entry(order.into_owned()).or_default().push(step.to_owned());
        if steps.values().map(Vec::len).sum::<usize>() == ORDERS * STEPS {
            all_done.notify_one();
        }
        Ok(())
    };
    let group = client.group(&stream, "shipping").members(members).concurrency(ORDERS).ordered_by_key();
    let report = group.run(handler, all_done.notified()).await?;

    let expected: Vec<String> = (0..STEPS).map(|step| step.to_string()).collect();
    for (order, steps) in steps.into_inner() {
        println!("{order}: steps {}", steps.join(" "));
        assert_eq!(steps, expected, "{order} was handled in order");
    }
    println!("by {members} members, up to {} at a time", most.get());
    assert!(most.get() > 1, "several orders were handled at a time");
    assert!(report.clean);
    client.admin().delete_stream(&stream.parse()?).await?;
    Ok(())
}

/// With its group, so that it gets what is published before its first member is there. Where members own units, as on
/// Kafka, only as many members work as there are units.
async fn create(client: &Client, stream: &str, group: &str) -> Result<(), Box<dyn Error>> {
    let mut spec = StreamSpec::new(stream.parse()?);
    spec.groups.push(group.parse()?);
    let capabilities = client.capabilities();
    spec.partitions = (capabilities.assigns_units && capabilities.partitions).then_some(PARTITIONS);
    client.admin().create_stream(&spec).await?;
    Ok(())
}

async fn publish(
    client: &Client,
    stream: &str,
    messages: impl IntoIterator<Item = Message>,
) -> Result<(), Box<dyn Error>> {
    let publisher = client.publisher(stream).await?;
    for receipt in publisher.publish_all(messages).await {
        receipt?;
    }
    Ok(())
}

fn no_key() -> HandlerError {
    HandlerError::reject("a step belongs to an order")
}
