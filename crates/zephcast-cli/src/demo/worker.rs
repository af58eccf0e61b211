//! One member as a process of its own, as far as the broker and the others can see: a thread, a runtime, a client.

use std::cell::Cell;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use zephcast::memory::MemoryBroker;
use zephcast::{Client, CloseReport, Delivery, Error, ErrorKind, Event, HandlerError, Retry, UnitId};

use super::{ATTEMPTS, GROUP, LEAVE_WITHIN, POISON, STREAM, VICTIM, WORK};
use crate::exit::{Failure, describe};

/// So many are handled by the victim before it holds one until it crashes.
const BEFORE_CRASH: u32 = 2;

/// What happens to members and orders.
#[derive(Debug)]
pub(super) enum Seen {
    Assigned {
        member: String,
        units: String,
    },
    Revoked {
        member: String,
        units: String,
    },
    /// The victim has begun an order that it will never end.
    Held {
        member: String,
        order: String,
    },
    Handled {
        member: String,
        order: String,
        attempt: u32,
    },
    Failed {
        member: String,
        order: String,
        attempt: u32,
    },
    DeadLettered {
        member: String,
        reason: String,
    },
    /// A member is over that should not be.
    Ended {
        member: String,
        reason: String,
    },
}

/// A member that runs.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: &'static str,
    leave: oneshot::Sender<()>,
    crash: oneshot::Sender<()>,
    /// What it says when it is over; nothing if it crashed.
    ended: oneshot::Receiver<Result<CloseReport, Error>>,
}

impl Worker {
    /// The thread ends when the worker leaves or crashes, or is dropped.
    pub(super) fn start(broker: &MemoryBroker, name: &'static str, tell: mpsc::UnboundedSender<Seen>) -> Self {
        let client = Client::new(broker.driver());
        let (leave, asked_to_leave) = oneshot::channel();
        let (crash, crashed) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    let reason = error.to_string();
                    let _ = tell.send(Seen::Ended { member: name.into(), reason });
                    return;
                }
            };
            let report = runtime.block_on(async {
                tokio::select! {
                    biased;
                    Ok(()) = crashed => None,
                    report = live(&client, name, &tell, asked_to_leave) => Some(report),
                }
            });
            // After a crash everything stops where it is: what would have left in good order is never run again.
            drop(runtime);
            if let Some(report) = report {
                if let Err(error) = &report {
                    let _ = tell.send(Seen::Ended { member: name.into(), reason: describe(error) });
                }
                let _ = end.send(report);
            }
        });
        Self { name, leave, crash, ended }
    }

    /// Ends it at once, with whatever it holds.
    pub(super) async fn crash(self) {
        let _ = self.crash.send(());
        // Its end has nothing to say.
        let _ = self.ended.await;
    }

    /// Asks it to finish what it has begun and to leave.
    ///
    /// # Errors
    /// What ended the member instead.
    pub(super) async fn leave(self) -> Result<CloseReport, Failure> {
        let _ = self.leave.send(());
        let gone = || Error::new(ErrorKind::Internal, "leave", "the member's thread is gone");
        Ok(self.ended.await.unwrap_or_else(|_| Err(gone()))?)
    }
}

/// A member's life as an application writes it.
async fn live(
    client: &Client,
    name: &'static str,
    tell: &mpsc::UnboundedSender<Seen>,
    asked_to_leave: oneshot::Receiver<()>,
) -> Result<CloseReport, Error> {
    // Nobody listens any more when the story is over.
    let say = |seen| drop(tell.send(seen));
    let handled = Cell::new(0);
    let handler = async |delivery: &Delivery| -> Result<(), HandlerError> {
        let (member, order, attempt) = (name.to_owned(), delivery.payload_str()?.to_owned(), delivery.attempt());
        if order == POISON {
            say(Seen::Failed { member, order, attempt });
            return Err(HandlerError::retry("there is no customer 13"));
        }
        if name == VICTIM && handled.get() == BEFORE_CRASH {
            say(Seen::Held { member, order });
            std::future::pending::<()>().await;
            return Ok(());
        }
        sleep(WORK).await;
        handled.set(handled.get() + 1);
        say(Seen::Handled { member, order, attempt });
        Ok(())
    };
    let tell = tell.clone();
    let member = name.to_owned();
    let group = client
        .group(STREAM, GROUP)
        .member(name)
        .create(false)
        .prefetch(4)
        .drain(LEAVE_WITHIN)
        .retry(Retry::exponential(WORK).max_attempts(ATTEMPTS))
        .on_event(move |_, event| {
            let member = member.clone();
            let seen = match event {
                Event::Assigned(units) if !units.is_empty() => Seen::Assigned { member, units: list(units) },
                Event::Revoked(units) => Seen::Revoked { member, units: list(units) },
                Event::DeadLettered { reason, .. } => Seen::DeadLettered { member, reason: reason.clone() },
                _ => return,
            };
            let _ = tell.send(seen);
        });
    group.run(handler, async { drop(asked_to_leave.await) }).await
}

fn list(units: &[UnitId]) -> String {
    units.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
