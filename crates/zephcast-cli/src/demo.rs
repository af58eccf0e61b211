//! `zephcast demo`: what a group does about a crash and about a message that nobody can handle, told as it happens.

mod account;
mod worker;

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use zephcast::driver::StreamSpec;
use zephcast::memory::MemoryBroker;
use zephcast::{Client, Message, Publisher, StreamName};

use self::account::Account;
use self::worker::{Seen, Worker};
use crate::exit::{Exit, Failure};
use crate::output::{Output, seconds};
use crate::signals::Shutdown;

const STREAM: &str = "orders";
const GROUP: &str = "billing";
const PARTITIONS: u32 = 6;
const WORKERS: [&str; 3] = ["ada", "bob", "cleo"];
/// Who crashes, with an order in its hands.
const VICTIM: &str = "bob";
const ORDERS: usize = 30;
/// Nobody can handle this one.
const POISON: &str = "order 13";
const ATTEMPTS: u32 = 3;
/// How long an order takes.
const WORK: Duration = Duration::from_millis(150);
/// It takes a few seconds; what takes longer does not end.
const LIMIT: Duration = Duration::from_secs(25);
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Tells the story to its end, and fails if it did not come out as it should.
pub(crate) async fn run(output: &Output, mut shutdown: Shutdown) -> Result<Exit, Failure> {
    let story = timeout(LIMIT, Story::new(output).tell());
    let Some(told) = shutdown.unless_asked(story).await else { return Ok(Exit::Interrupted) };
    told.unwrap_or_else(|_| Err(Failure::failed(format!("the story did not end within {LIMIT:?}"))))?;
    Ok(Exit::Done)
}

/// `{"event":"step",...}`.
#[derive(Serialize)]
struct Step {
    event: &'static str,
    what: &'static str,
    seconds: f64,
    text: String,
}

struct Story<'a> {
    output: &'a Output,
    began: Instant,
    broker: MemoryBroker,
    /// Publishes and looks, and is no member.
    client: Client,
    account: Account,
}

impl<'a> Story<'a> {
    fn new(output: &'a Output) -> Self {
        let broker = MemoryBroker::new();
        let client = Client::new(broker.driver());
        Self { output, began: Instant::now(), broker, client, account: Account::default() }
    }

    async fn tell(mut self) -> Result<(), Failure> {
        let mut spec = StreamSpec::new(StreamName::new(STREAM)?);
        spec.partitions = Some(PARTITIONS);
        self.client.admin().create_stream(&spec).await?;
        let text = format!("a broker in this process, with the stream {STREAM} of {PARTITIONS} partitions");
        self.step("begun", text).await?;

        let (tell, mut seen) = mpsc::unbounded_channel();
        let workers = WORKERS.map(|name| Worker::start(&self.broker, name, tell.clone()));
        self.gather(&mut seen).await?;
        self.publish().await?;
        let (victim, others): (Vec<_>, Vec<_>) = workers.into_iter().partition(|worker| worker.name == VICTIM);
        self.work(victim, &mut seen).await?;
        self.leave(others).await?;
        self.check().await
    }

    /// Waits until every member has a share of the partitions.
    async fn gather(&mut self, seen: &mut mpsc::UnboundedReceiver<Seen>) -> Result<(), Failure> {
        let mut missing = WORKERS.to_vec();
        while !missing.is_empty() {
            let news = next(seen).await?;
            if let Seen::Assigned { member, .. } = &news {
                missing.retain(|name| name != member);
            }
            self.narrate(&news).await?;
        }
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), Failure> {
        let publisher: Publisher = self.client.publisher(STREAM).await?;
        let orders = (0..ORDERS).map(|n| Message::new(format!("order {n}")));
        for receipt in publisher.publish_all(orders).await {
            receipt?;
        }
        self.step("published", format!("{ORDERS} orders are published, and confirmed; nobody can handle {POISON}"))
            .await
    }

    /// Follows the group until every order has found its end; on the way the victim crashes.
    async fn work(&mut self, mut victim: Vec<Worker>, seen: &mut mpsc::UnboundedReceiver<Seen>) -> Result<(), Failure> {
        while !self.account.is_complete() {
            let news = next(seen).await?;
            self.account.add(&news);
            self.narrate(&news).await?;
            if let Seen::Held { order, .. } = news
                && let Some(worker) = victim.pop()
            {
                // In the middle of its work.
                sleep(WORK / 2).await;
                worker.crash().await;
                let text =
                    format!("{VICTIM} crashes with {order} in its hands: nothing is said, nothing is given back");
                self.step("crashed", text).await?;
            }
        }
        Ok(())
    }

    async fn narrate(&self, news: &Seen) -> Result<(), Failure> {
        let (what, text) = match news {
            Seen::Assigned { member, units } => ("assigned", format!("{member} has the partitions {units}")),
            Seen::Revoked { member, units } => ("revoked", format!("{member} gives up the partitions {units}")),
            Seen::Held { member, order } => ("started", format!("{member} begins {order}")),
            Seen::Handled { member, order, attempt: 1 } => ("handled", format!("{member} handled {order}")),
            Seen::Handled { member, order, attempt } => {
                ("handled", format!("{member} handled {order}, which had come before: attempt {attempt}"))
            }
            Seen::Failed { member, order, attempt } => {
                ("failed", format!("{member} cannot handle {order}: attempt {attempt} of {ATTEMPTS}"))
            }
            Seen::DeadLettered { member, reason } => {
                ("dead_lettered", format!("{member} gives it up, and it goes to the dead letters: {reason}"))
            }
            Seen::Ended { member, reason } => return Err(Failure::failed(format!("{member} ended early: {reason}"))),
        };
        self.step(what, text).await
    }

    /// The members that are left leave in good order.
    async fn leave(&mut self, workers: Vec<Worker>) -> Result<(), Failure> {
        for worker in workers {
            let name = worker.name;
            let report = worker.leave().await?;
            let text = format!("{name} leaves: {} settled, {} given back", report.acked, report.returned);
            self.account.left(&report);
            self.step("left", text).await?;
        }
        Ok(())
    }

    /// Asks the broker what became of it all.
    async fn check(self) -> Result<(), Failure> {
        let status = self.client.group_status(STREAM, GROUP).await?;
        let dead = self.client.admin().dead_letters(&status.stream, &status.group, None, ORDERS).await?;
        let wrong = self.account.problems(&status, &dead);
        // What is left ends with the process.
        let _ = self.client.close(LEAVE_WITHIN).await;
        if !wrong.is_empty() {
            return Err(Failure::failed(format!("the story did not come out as it should: {}", wrong.join("; "))));
        }
        let good = ORDERS - 1;
        let text = format!(
            "checked: {good} orders are handled, nothing is left, and {POISON} waits in the dead letters with its reason"
        );
        self.step("checked", text).await
    }

    async fn step(&self, what: &'static str, text: String) -> Result<(), Failure> {
        let step = Step { event: "step", what, seconds: seconds(self.began.elapsed()), text };
        self.output.show(&step, Step::in_words).await?;
        Ok(())
    }
}

async fn next(seen: &mut mpsc::UnboundedReceiver<Seen>) -> Result<Seen, Failure> {
    seen.recv().await.ok_or_else(|| Failure::failed("every member ended before the story did"))
}

impl Step {
    fn in_words(&self) -> String {
        format!("{:6.3} s  {}", self.seconds, self.text)
    }
}
