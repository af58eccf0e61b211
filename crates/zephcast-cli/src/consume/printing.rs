//! The default: a delivery is acked after it was written to stdout.

use zephcast::Delivery;

use super::members::Members;
use super::session::{End, Session, announce};
use crate::exit::{Exit, Failure};
use crate::output::complain;

/// Prints deliveries until there is a reason to leave, then leaves.
pub(crate) async fn run(mut members: Members, mut session: Session<'_>) -> Result<Exit, Failure> {
    announce(&members, &mut session);
    let mut printing = Printing { count: session.arguments.count, taken: 0, acked: 0 };
    let mut end = printing.run(&mut members, &mut session).await;
    if let (End::Asked | End::Failed(_), Err(worse)) = (&end, printing.write(&mut session).await) {
        end = worse;
    }
    // What nobody saw goes back to the group.
    session.page.unseen().for_each(|delivery| drop(delivery.nack()));
    let report = members.close(session.arguments.drain).await?;
    session.report(end, &report).await
}

/// How many were taken and acked, of how many.
struct Printing {
    count: Option<usize>,
    /// Acked, or on the page.
    taken: usize,
    acked: usize,
}

impl Printing {
    async fn run(&mut self, members: &mut Members, session: &mut Session<'_>) -> End {
        loop {
            if self.count.is_some_and(|count| self.acked + session.given_up >= count) {
                return End::Asked;
            }
            if session.page.is_full() {
                match self.write(session).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                }
            }
            let room = self.count.is_none_or(|count| self.taken + session.given_up < count);
            let unwritten = !session.page.is_empty();
            let happening = tokio::select! {
                biased;
                happening = members.next(room) => Some(happening),
                () = std::future::ready(()), if unwritten => None,
                end = session.asked_to_leave() => return end,
            };
            let step = match happening.map(|happening| session.take(happening)) {
                None => self.write(session).await,
                Some(Ok(delivery)) => {
                    delivery.into_iter().for_each(|delivery| self.print(session, delivery));
                    Ok(())
                }
                Some(Err(end)) => Err(end),
            };
            match step {
                Ok(()) if session.shutdown.requested() => return End::Asked,
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    fn print(&mut self, session: &mut Session<'_>, delivery: Delivery) {
        let (_, line) = session.line(&delivery);
        session.page.delivery(&line, delivery);
        self.taken += 1;
    }

    /// Writes the page and acks what was on it. One that is no longer ours does not count.
    async fn write(&mut self, session: &mut Session<'_>) -> Result<(), End> {
        let written = session.write(|delivery| {
            let position = delivery.position();
            match delivery.ack() {
                Ok(()) => self.acked += 1,
                Err(error) => {
                    self.taken -= 1;
                    complain(format_args!("{position} was printed, but {error}"));
                }
            }
        });
        written.await
    }
}
