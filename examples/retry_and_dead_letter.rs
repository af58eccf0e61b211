//! `cargo run --example retry_and_dead_letter [URL]`
//!
//! Of twenty orders some fail at first and are retried with backoff, one fails each time, one makes no sense at all.
//! The last two end in the dead letters, with the reason, while the others flow. Then the bug is mended, one dead
//! letter is sent back and handled, the other is purged. Without a URL the embedded broker is used.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use zephcast::driver::{DeadLetter, Redrive, StreamSpec};
use zephcast::{Client, CloseReport, Delivery, Event, HandlerError, Message, Retry, StreamName, connect};

const ORDERS: u32 = 20;
const ATTEMPTS: u32 = 4;
const POISON: &str = "order 7";
const NONSENSE: &str = "order 13";
/// Each fifth order fails twice before it works.
const FLAKY_EVERY: u32 = 5;
const WITHIN: Duration = Duration::from_secs(10);

/// What the story is told of.
enum Seen {
    Handled { order: String, attempt: u32 },
    Failed { order: String, attempt: u32 },
    DeadLettered,
}

/// The group as the story sees it.
struct Orders {
    client: Client,
    stream: StreamName,
    seen: mpsc::UnboundedReceiver<Seen>,
    began: Instant,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".into());
    let client = connect(&url).await?;
    let stream = StreamName::new(format!("retry-and-dead-letter-{}", std::process::id()))?;
    // With the group, so that it gets what is published before its first member is there.
    let mut spec = StreamSpec::new(stream.clone());
    spec.groups.push("billing".parse()?);
    client.admin().create_stream(&spec).await?;

    let (tell, seen) = mpsc::unbounded_channel();
    let mended = AtomicBool::new(false);
    let handler = async |delivery: &Delivery| {
        let order = delivery.payload_str()?.to_owned();
        let attempt = delivery.attempt();
        let result = process(delivery, &order, mended.load(Ordering::Relaxed));
        let seen = match result {
            Ok(()) => Seen::Handled { order, attempt },
            Err(_) => Seen::Failed { order, attempt },
        };
        // Whoever listens may have seen enough.
        let _ = tell.send(seen);
        result
    };
    let tell_dead = tell.clone();
    let group = client
        .group(&stream, "billing")
        .members(2)
        .concurrency(4)
        .retry(Retry::exponential(Duration::from_millis(100)).max_delay(Duration::from_secs(1)).max_attempts(ATTEMPTS))
        .on_event(move |_, event| {
            if let Event::DeadLettered { position, reason } = event {
                println!("-- {position} went to the dead letters: {reason}");
                let _ = tell_dead.send(Seen::DeadLettered);
            }
        });

    // The group runs until the story ends and drops `stop`.
    let (stop, stopped) = oneshot::channel::<()>();
    let story = async {
        let _stop = stop;
        let mut orders = Orders { client: client.clone(), stream: stream.clone(), seen, began: Instant::now() };
        tokio::time::timeout(WITHIN, orders.tell(&mended)).await?
    };
    let (report, told) = tokio::join!(group.run(handler, async { drop(stopped.await) }), story);
    // A group that failed is why the story did not end.
    let report = report?;
    told?;
    check(&report);
    client.admin().delete_stream(&stream).await?;
    client.close(WITHIN).await?;
    println!("all orders were handled, and nothing was lost on the way");
    Ok(())
}

/// What an application would do. Any error is a failed attempt, but for one that says that trying again is no use.
fn process(delivery: &Delivery, order: &str, mended: bool) -> Result<(), HandlerError> {
    let number: u32 = order.trim_start_matches("order ").parse().map_err(HandlerError::from)?;
    match order {
        NONSENSE => Err(HandlerError::reject("there is no such customer")),
        POISON if !mended => Err(HandlerError::retry("division by zero")),
        _ if number.is_multiple_of(FLAKY_EVERY) && delivery.attempt() <= 2 => {
            Err(HandlerError::retry("the bank is busy"))
        }
        _ => Ok(()),
    }
}

impl Orders {
    async fn tell(&mut self, mended: &AtomicBool) -> Result<(), Box<dyn Error>> {
        let publisher = self.client.publisher(&self.stream).await?;
        for n in 0..ORDERS {
            let message = Message::new(format!("order {n}")).with_key(format!("customer-{}", n % 6));
            publisher.publish(message.with_header("source", "web")).await?;
        }

        let (mut handled, mut dead) = (0, 0);
        while handled < ORDERS - 2 || dead < 2 {
            match self.next().await? {
                Seen::Handled { order, attempt } => {
                    let flaky = order.trim_start_matches("order ").parse::<u32>()?.is_multiple_of(FLAKY_EVERY);
                    assert_eq!(attempt, if flaky { 3 } else { 1 }, "{order}");
                    handled += 1;
                }
                Seen::Failed { .. } => {}
                Seen::DeadLettered => dead += 1,
            }
        }

        let letters = self.dead_letters().await?;
        for letter in &letters {
            println!(
                "dead letter {}: {} after {} attempts, from {}",
                letter.position, letter.reason, letter.attempts, letter.origin
            );
            assert!(letter.origin.starts_with(&format!("{}@", self.stream)), "{}", letter.origin);
            assert_eq!(letter.message.headers().first_str("source"), Some("web"), "headers are kept");
            assert!(letter.message.key().is_some(), "the key is kept");
        }
        let find = |order: &str| {
            letters.iter().find(|letter| letter.message.payload() == order).ok_or("a dead letter is missing")
        };
        let (poison, nonsense) = (find(POISON)?, find(NONSENSE)?);
        assert_eq!((letters.len(), poison.attempts, nonsense.attempts), (2, ATTEMPTS, 1));
        assert_eq!(
            (poison.reason.as_str(), nonsense.reason.as_str()),
            ("division by zero", "there is no such customer")
        );

        println!("-- the bug is mended: the poison goes back to the group");
        mended.store(true, Ordering::Relaxed);
        assert_eq!(self.redrive(poison).await?, Redrive::Redriven);
        match self.next().await? {
            Seen::Handled { order, attempt } => assert_eq!((order.as_str(), attempt), (POISON, 1), "counted afresh"),
            Seen::Failed { .. } | Seen::DeadLettered => return Err("it failed again".into()),
        }
        assert_eq!(self.redrive(poison).await?, Redrive::Gone, "sent back once");

        println!("-- the other one is purged");
        assert_eq!(self.client.admin().purge_dead_letters(&self.stream, &"billing".parse()?).await?, 1);
        assert!(self.dead_letters().await?.is_empty());
        Ok(())
    }

    async fn next(&mut self) -> Result<Seen, Box<dyn Error>> {
        let seen = self.seen.recv().await.ok_or("the group ended early")?;
        let at = self.began.elapsed().as_millis();
        match &seen {
            Seen::Handled { order, attempt } => println!("{at:4} ms: {order} handled at attempt {attempt}"),
            Seen::Failed { order, attempt } => println!("{at:4} ms: {order} failed at attempt {attempt}"),
            Seen::DeadLettered => {}
        }
        Ok(seen)
    }

    async fn dead_letters(&self) -> zephcast::Result<Vec<DeadLetter>> {
        self.client.admin().dead_letters(&self.stream, &"billing".parse()?, None, 100).await
    }

    async fn redrive(&self, letter: &DeadLetter) -> zephcast::Result<Redrive> {
        self.client.admin().redrive(&self.stream, &"billing".parse()?, letter.position).await
    }
}

/// The group's own account agrees.
fn check(report: &CloseReport) {
    println!(
        "{} deliveries: {} acked, {} retried, {} dead-lettered",
        report.delivered, report.acked, report.retried, report.dead_lettered
    );
    let flaky = u64::from(ORDERS / FLAKY_EVERY);
    assert_eq!(report.acked, u64::from(ORDERS) - 1, "all but the one without sense");
    assert_eq!(report.dead_lettered, 2);
    assert_eq!(report.retried, flaky * 2 + u64::from(ATTEMPTS) - 1);
    assert!(report.clean);
}
