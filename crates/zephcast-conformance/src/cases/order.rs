//! D8: order per key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use zephcast_core::{Delivery, HandlerError, Message, Retry};

use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab, Process};

pub(super) const CASES: &[Case] = &[
    case!("D8", "pipelined publishes of a key are delivered in order", pipelined, Order),
    case!("D8", "order of a key holds through retries with concurrent handlers", through_retries, Order),
    case!("D8", "order of a key holds over many members", many_members, OrderAcrossMembers),
    case!("D8", "order of a key holds while members come and go", changing_members, OrderAcrossMembers),
];

const KEYS: usize = 7;

/// The messages of each key in the order in which they were handled.
#[derive(Default)]
struct Handled(Mutex<BTreeMap<String, Vec<usize>>>);

impl Handled {
    fn note(&self, delivery: &Delivery) -> Checked<usize> {
        let (key, number) = parse(delivery)?;
        let mut all = self.0.lock().map_err(|_| Broken::new("a handler panicked"))?;
        all.entry(key).or_default().push(number);
        Ok(all.values().map(Vec::len).sum())
    }

    /// Each key's messages came once each, in order.
    fn check(&self, count: usize) -> Checked {
        let all = self.0.lock().map_err(|_| Broken::new("a handler panicked"))?;
        let total: usize = all.values().map(Vec::len).sum();
        ensure!(total == count, "{count} messages were handled {total} times");
        for (key, numbers) in &*all {
            let back = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
            ensure!(back.is_none(), "{key}: {} came before {}", back.map_or(0, |p| p[0]), back.map_or(0, |p| p[1]));
        }
        Ok(())
    }
}

fn parse(delivery: &Delivery) -> Checked<(String, usize)> {
    let key = delivery.key().ok_or_else(|| Broken::new("the key is missing"))?;
    Ok((String::from_utf8_lossy(key).into_owned(), delivery.payload_str()?.parse()?))
}

/// Enqueued without waiting, numbered over all keys.
async fn publish(lab: &Lab, process: &Process, count: usize) -> Checked {
    let publisher = lab.publisher(process).await?;
    for number in 0..count {
        let message = Message::new(number.to_string()).with_key(format!("key-{}", number % KEYS));
        drop(lab.within("room", publisher.enqueue(message)).await??);
    }
    lab.within("the flush", publisher.flush()).await
}

/// No publish waits for the one before; one member pulls.
async fn pipelined(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    publish(&lab, &process, 500).await?;
    let handled = Handled::default();
    for delivery in lab.take(&mut consumer, 500).await? {
        handled.note(&delivery)?;
    }
    handled.check(500)
}

/// One member, eight handlers; every ninth message fails twice. A later message of its key waits for it.
async fn through_retries(lab: Lab) -> Checked {
    let process = lab.process().await?;
    drop(lab.join(&process).await?);
    publish(&lab, &process, 200).await?;
    run(&lab, &process, 1, 200).await
}

/// The same with three members.
async fn many_members(lab: Lab) -> Checked {
    let process = lab.process().await?;
    drop(lab.join(&process).await?);
    publish(&lab, &process, 200).await?;
    run(&lab, &process, 3, 200).await
}

async fn run(lab: &Lab, process: &Process, members: usize, count: usize) -> Checked {
    let handled = Handled::default();
    let failed = Mutex::new(BTreeMap::<usize, u32>::new());
    let done = watch::Sender::new(false);
    let handler = async |delivery: &Delivery| {
        let number = delivery.payload_str()?.parse::<usize>()?;
        tokio::time::sleep(Duration::from_millis(number as u64 % 3)).await;
        if number % 9 == 0 {
            let mut failed = failed.lock().map_err(|_| HandlerError::retry("a handler panicked"))?;
            let failures = failed.entry(number).or_default();
            *failures += 1;
            if *failures <= 2 {
                return Err(HandlerError::retry("on purpose"));
            }
        }
        let total = handled.note(delivery).map_err(|broken| HandlerError::retry(broken.to_string()))?;
        if total >= count {
            done.send_replace(true);
        }
        Ok(())
    };
    let mut ended = done.subscribe();
    let shutdown = async {
        let _ = ended.wait_for(|done| *done).await;
    };
    let group = process.group(lab.stream().as_str(), GROUP).members(members).concurrency(8).ordered_by_key();
    let group = group.lease(lab.lease()).retry(Retry::exponential(Duration::from_millis(10)));
    lab.within("the group", group.run(handler, shutdown)).await??;
    handled.check(count)
}

/// Members join and leave, cleanly, while messages flow: each key's order holds across its owners.
async fn changing_members(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut members = vec![lab.join(&process).await?];
    publish(&lab, &process, 400).await?;
    let (handled, mut seen) = (Handled::default(), BTreeSet::new());
    for round in 0..4 {
        for _ in 0..60 {
            let next = futures_util::future::select_all(members.iter_mut().map(|member| Box::pin(member.next())));
            let (delivery, ..) = lab.within("a delivery", next).await?;
            let delivery = delivery.ok_or_else(|| Broken::new("a member ended"))??;
            seen.insert(parse(&delivery)?.1);
            handled.note(&delivery)?;
            delivery.ack()?;
        }
        if round % 2 == 0 {
            members.push(lab.join(&process).await?);
        } else {
            let leaving = members.remove(0);
            lab.within("closing", leaving.close(Duration::from_secs(5))).await??;
        }
    }
    while seen.len() < 400 {
        let next = futures_util::future::select_all(members.iter_mut().map(|member| Box::pin(member.next())));
        let (delivery, ..) = lab.within(&format!("the rest; {} of 400 so far", seen.len()), next).await?;
        let delivery = delivery.ok_or_else(|| Broken::new("a member ended"))??;
        seen.insert(parse(&delivery)?.1);
        handled.note(&delivery)?;
        delivery.ack()?;
    }
    handled.check(400)
}
