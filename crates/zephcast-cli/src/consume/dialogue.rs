//! `--settle stdin`: deliveries go out, verdicts come in.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use zephcast::{CloseReport, Delivery, ErrorKind, Result, Verdict};

use super::members::{Happening, Members};
use super::session::{End, Session, announce};
use super::verdicts::{self, NotUnderstood};
use crate::exit::{Exit, Failure, describe};
use crate::lines::{self, Batches, Line};
use crate::output::records::{Complaint, Record};
use crate::output::seconds;

/// Hands out deliveries and settles them by the verdicts that come in, until there is a reason to leave.
pub(crate) async fn run(mut members: Members, mut session: Session<'_>) -> Result<Exit, Failure> {
    announce(&members, &mut session);
    let mut dialogue = Dialogue::new(session.arguments.count);
    let end = dialogue.run(&mut members, &mut session).await;
    let report = dialogue.leave(members, &mut session, &end).await?;
    session.report(end, &report).await
}

struct Dialogue {
    verdicts: Batches,
    /// Whether verdicts can still come.
    open: bool,
    /// Handed out and not settled, by token.
    outstanding: HashMap<u64, Delivery>,
    /// On their way to the broker.
    settling: FuturesUnordered<BoxFuture<'static, Settled>>,
    /// Commits that wait for the end, since leaving makes everything durable.
    late_commits: Vec<Instant>,
    count: Option<usize>,
    /// Acked, rejected or dead-lettered.
    settled: usize,
}

/// A verdict that has its answer.
struct Settled {
    token: u64,
    verdict: &'static str,
    /// Whether the delivery is done with, rather than to come again.
    last: bool,
    result: Result<()>,
}

impl Dialogue {
    fn new(count: Option<usize>) -> Self {
        Self {
            verdicts: lines::stdin(),
            open: true,
            outstanding: HashMap::new(),
            settling: FuturesUnordered::new(),
            late_commits: Vec::new(),
            count,
            settled: 0,
        }
    }

    async fn run(&mut self, members: &mut Members, session: &mut Session<'_>) -> End {
        loop {
            let settled = self.settled + session.given_up;
            if self.count.is_some_and(|count| settled >= count) {
                return End::Asked;
            }
            let room = self.count.is_none_or(|count| settled + self.outstanding.len() + self.settling.len() < count);
            let must_write = session.page.is_full();
            let unwritten = !session.page.is_empty();
            let step = tokio::select! {
                biased;
                () = std::future::ready(()), if must_write => session.write(drop).await,
                Some(settled) = self.settling.next() => {
                    self.settled(session, settled);
                    Ok(())
                }
                batch = self.verdicts.recv() => match batch {
                    Some(batch) => self.heed(batch, Some(members), session).await,
                    None => {
                        self.open = false;
                        Err(End::Asked)
                    }
                },
                happening = members.next(room) => self.take(happening, session),
                () = std::future::ready(()), if unwritten => session.write(drop).await,
                end = session.asked_to_leave() => Err(end),
            };
            match step {
                Ok(()) if session.shutdown.requested() => return End::Asked,
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    fn take(&mut self, happening: Happening, session: &mut Session<'_>) -> Result<(), End> {
        if let Some(delivery) = session.take(happening)? {
            let (token, line) = session.line(&delivery);
            session.page.line(&line);
            self.outstanding.insert(token, delivery);
        }
        Ok(())
    }

    /// Does what a batch of lines says. Without members a commit waits for the end.
    async fn heed(
        &mut self,
        batch: std::io::Result<Vec<Line>>,
        members: Option<&Members>,
        session: &mut Session<'_>,
    ) -> Result<(), End> {
        for line in batch.map_err(End::Io)? {
            let parsed = match &line {
                Line::Whole(line) => verdicts::parse(line),
                Line::TooLong => Err(NotUnderstood { token: None, why: lines::too_long() }),
            };
            match (parsed, members) {
                (Ok(verdicts::Line::Settle { token, verdict }), _) => self.settle(session, token, verdict),
                (Ok(verdicts::Line::Commit), Some(members)) => self.commit(members, session).await?,
                (Ok(verdicts::Line::Commit), None) => self.late_commits.push(Instant::now()),
                (Err(NotUnderstood { token, why }), _) => complain(session, "unknown_token", token, why),
            }
        }
        Ok(())
    }

    fn settle(&mut self, session: &mut Session<'_>, token: u64, verdict: Verdict) {
        let Some(delivery) = self.outstanding.remove(&token) else {
            let why = format!("no delivery {token} waits for a verdict: it was settled, or there never was one");
            return complain(session, "unknown_token", Some(token), why);
        };
        session.idle.touch();
        let dead = match verdict {
            Verdict::Reject(_) => true,
            Verdict::Fail(_) => delivery.attempt() >= session.arguments.max_attempts,
            _ => false,
        };
        if dead {
            session.condemn(delivery.position());
        }
        let (name, last) = (verdicts::name(&verdict), dead || verdict == Verdict::Ack);
        self.settling.push(Box::pin(async move {
            Settled { token, verdict: name, last, result: delivery.settle_confirmed(verdict).await }
        }));
    }

    fn settled(&mut self, session: &mut Session<'_>, settled: Settled) {
        let Settled { token, verdict, last, result } = settled;
        self.settled += usize::from(last && result.is_ok());
        match result {
            Ok(()) => session.page.record(&Record::Settled { token, verdict, result: "ok" }),
            Err(error) if error.kind() == ErrorKind::LeaseLost => {
                session.page.record(&Record::Settled { token, verdict, result: "lease_lost" });
            }
            Err(error) => complain(session, error.kind().as_str(), Some(token), describe(&error)),
        }
    }

    /// Waits until everything before is durable. A signal meanwhile leaves the answer to the end.
    async fn commit(&mut self, members: &Members, session: &mut Session<'_>) -> Result<(), End> {
        let began = Instant::now();
        // What was not polled yet was not even begun.
        loop {
            tokio::select! {
                biased;
                settled = self.settling.next() => match settled {
                    Some(settled) => self.settled(session, settled),
                    None => break,
                },
                () = session.shutdown.wait() => {
                    self.late_commits.push(began);
                    return Err(End::Asked);
                }
            }
        }
        tokio::select! {
            biased;
            result = members.commit() => match result {
                Ok(()) => session.page.record(&Record::Committed { seconds: seconds(began.elapsed()) }),
                Err(error) => complain(session, error.kind().as_str(), None, describe(&error)),
            },
            () = session.shutdown.wait() => {
                self.late_commits.push(began);
                return Err(End::Asked);
            }
        }
        Ok(())
    }

    /// Leaves, and goes on taking verdicts for what is out until the drain time is up.
    async fn leave(&mut self, members: Members, session: &mut Session<'_>, end: &End) -> Result<CloseReport, Failure> {
        let mut unheard = matches!(end, End::Unread | End::Stalled | End::Io(_));
        let mut closing = std::pin::pin!(members.close(session.arguments.drain));
        let report = loop {
            if unheard || !self.open {
                // No verdict can come any more.
                self.outstanding.drain().for_each(|(_, delivery)| drop(delivery.nack()));
            }
            let step = tokio::select! {
                biased;
                report = &mut closing => break report?,
                Some(settled) = self.settling.next() => {
                    self.settled(session, settled);
                    Ok(())
                }
                () = std::future::ready(()), if !session.page.is_empty() && !unheard => session.write(drop).await,
                batch = self.verdicts.recv(), if self.open => match batch {
                    Some(batch) => self.heed(batch, None, session).await,
                    None => {
                        self.open = false;
                        Ok(())
                    }
                },
            };
            unheard |= step.is_err();
        };
        // The member has ended: every answer is there.
        while let Some(settled) = self.settling.next().await {
            self.settled(session, settled);
        }
        for began in std::mem::take(&mut self.late_commits) {
            match report.clean {
                true => session.page.record(&Record::Committed { seconds: seconds(began.elapsed()) }),
                false => complain(session, "closed", None, "left before everything was durable".into()),
            }
        }
        Ok(report)
    }
}

fn complain(session: &mut Session<'_>, kind: &'static str, token: Option<u64>, message: String) {
    session.page.record(&Record::Error(Complaint { kind, token, message }));
}
