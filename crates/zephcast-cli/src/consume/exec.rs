//! `--exec`: a command for each delivery, its exit status the verdict.

mod command;
mod desk;
mod environment;
mod news;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use zephcast::{Client, CloseReport, Delivery, HandlerError};

use self::command::{Command, Outcome};
use self::desk::Desk;
use self::news::Reporter;
use super::session::{End, Session};
use super::{prefetch, retry, start};
use crate::children::Children;
use crate::exit::{Exit, Failure};
use crate::output::messages::DeliveryRecord;
use crate::output::{complain, line};

/// How long a delivery waits when this machine had no room for its command.
const EXHAUSTED: Duration = Duration::from_secs(1);

/// How long a join that is under way is waited for when it is asked to leave.
const JOINING: Duration = Duration::from_secs(2);

/// Runs the members until there is a reason to leave; commands that run then are waited for.
pub(crate) async fn run(
    client: &Client,
    command: &str,
    mut session: Session<'_>,
    children: Children,
) -> Result<Exit, Failure> {
    let arguments = session.arguments;
    let (reporter, heard) = news::channel();
    let (leave, mut leaving) = watch::channel(false);
    let room = arguments.count.map(Semaphore::new);
    let joined = Arc::new(AtomicBool::new(false));
    let runner = Runner {
        command: Command::new(command, session.json, children),
        reporter: reporter.clone(),
        joined: Arc::clone(&joined),
        room: room.as_ref(),
        token: AtomicU64::new(0),
        json: session.json,
        leaving: leaving.clone(),
        max_attempts: arguments.max_attempts,
        warned: AtomicBool::new(false),
    };
    let mut group = client
        .group(&arguments.stream, &arguments.group)
        .start_at(start::parse("--from", &arguments.from, client.capabilities())?)
        .prefetch(prefetch(arguments))
        .lease(arguments.lease)
        .drain(arguments.drain)
        .retry(retry(arguments))
        .create(arguments.create)
        .members(arguments.members)
        .concurrency(arguments.concurrency)
        .on_event({
            let joined = Arc::clone(&joined);
            move |member, event| {
                joined.store(true, Ordering::Relaxed);
                reporter.event(member, event);
            }
        });
    if let Some(member) = &arguments.member {
        group = group.member(member);
    }
    if arguments.ordered_by_key {
        group = group.ordered_by_key();
    }
    let mut desk = Desk::new(&mut session, heard, room.as_ref(), client.capabilities().broker.as_str());
    let asked = async {
        // The sender lives as long as this function.
        let _ = leaving.wait_for(|leaving| *leaving).await;
    };
    // A broker that does not answer is left without having been joined.
    let left_outside = {
        let (mut leaving, joined) = (leave.subscribe(), Arc::clone(&joined));
        async move {
            // The sender lives as long as this function.
            let _ = leaving.wait_for(|leaving| *leaving).await;
            tokio::time::sleep(JOINING).await;
            if joined.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        }
    };
    let working = group.run(async |delivery: &Delivery| runner.handle(delivery).await, asked);
    let mut end = End::Asked;
    let report = tokio::select! {
        biased;
        never = desk.run(|why| {
            end = why;
            leave.send_replace(true);
        }) => match never {},
        report = working => report,
        () = left_outside => Ok(CloseReport { clean: true, ..CloseReport::default() }),
    };
    desk.hear_the_rest();
    match report {
        Ok(report) => session.report(end, &report).await,
        Err(error) => {
            // Why it failed matters more than whether what led to it could be written.
            let _ = session.write(drop).await;
            Err(Failure::or_create(error))
        }
    }
}

/// What handlers share.
struct Runner<'a> {
    command: Command,
    reporter: Reporter,
    /// Whether there was anything from the group.
    joined: Arc<AtomicBool>,
    /// How many more may be settled, those that run included. `None` without `--count`.
    room: Option<&'a Semaphore>,
    token: AtomicU64,
    json: bool,
    leaving: watch::Receiver<bool>,
    max_attempts: u32,
    /// Whether it was told that this machine has no room for a command.
    warned: AtomicBool,
}

impl Runner<'_> {
    async fn handle(&self, delivery: &Delivery) -> Result<(), HandlerError> {
        self.joined.store(true, Ordering::Relaxed);
        let Some(permit) = self.begin(delivery).await else {
            // It was not begun: whoever is left in the group gets it at once.
            return Err(HandlerError::later(Duration::ZERO));
        };
        let outcome = self.command.run(delivery).await;
        let dead = match &outcome {
            Outcome::Done | Outcome::NotStarted(_) => false,
            Outcome::Rejected(_) => true,
            Outcome::Failed(_) => delivery.attempt() >= self.max_attempts,
        };
        let settled = dead || matches!(outcome, Outcome::Done);
        if let Some(permit) = permit.filter(|_| settled) {
            permit.forget();
        }
        self.reporter.ended(settled, dead.then(|| delivery.position()));
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Rejected(reason) => Err(HandlerError::reject(reason)),
            Outcome::Failed(reason) => Err(HandlerError::retry(reason)),
            Outcome::NotStarted(why) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    complain(format_args!("the command cannot be started, trying again: {why}"));
                }
                Err(HandlerError::later(EXHAUSTED))
            }
        }
    }

    /// Tells of the delivery as soon as there is room, by the count and before a slow reader. `None` once the group is
    /// being left; `Some(None)` where nothing is counted.
    async fn begin(&self, delivery: &Delivery) -> Option<Option<SemaphorePermit<'_>>> {
        let begun = async {
            let permit = match self.room {
                Some(room) => Some(room.acquire().await.ok()?),
                None => None,
            };
            let token = self.token.fetch_add(1, Ordering::Relaxed) + 1;
            let shown = if self.json { line(&DeliveryRecord::new(token, delivery)) } else { Vec::new() };
            self.reporter.begun(shown).await;
            Some(permit)
        };
        let mut leaving = self.leaving.clone();
        tokio::select! {
            biased;
            begun = begun => begun,
            _ = leaving.wait_for(|leaving| *leaving) => None,
        }
    }
}
