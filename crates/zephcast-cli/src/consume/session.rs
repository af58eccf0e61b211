//! What every way of consuming shares: the page, the reasons to leave, and leaving.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;
use zephcast::driver::{Stored, after};
use zephcast::{CloseReport, Delivery, Error, Event, MemberName, Message, Position};

use super::idle::Idle;
use super::members::{Happening, Members};
use super::news;
use super::page::Page;
use crate::args::consume::{ConsumeArgs, SettleMode};
use crate::exit::{Exit, Failure};
use crate::output::messages::DeliveryRecord;
use crate::output::records::{Record, Report};
use crate::output::stdout::Written;
use crate::output::{Output, line};
use crate::signals::Shutdown;

/// The report has at least this long to be written.
const LAST_LINE: Duration = Duration::from_secs(1);

/// One run of `consume`.
pub(crate) struct Session<'a> {
    pub(crate) arguments: &'a ConsumeArgs,
    pub(crate) output: &'a Output,
    pub(crate) shutdown: Shutdown,
    pub(crate) page: Page,
    pub(crate) idle: Idle,
    /// Dead-lettered without having been handed out: they killed their process too often.
    pub(crate) given_up: usize,
    /// On their way to the dead letters by a verdict: that event counts nothing more.
    condemned: HashSet<Position>,
    unread: Pin<Box<dyn Future<Output = ()> + Send>>,
    pub(crate) json: bool,
    token: u64,
    /// Until when a reader that stalls is waited for, once it was asked to leave.
    patience: Option<Instant>,
}

/// Why a session ends.
#[derive(Debug)]
pub(crate) enum End {
    /// A signal, the count, a quiet time, the end of the input: in good order.
    Asked,
    /// Nobody reads stdout any more.
    Unread,
    /// Somebody has stdout and does not read it, and the time to leave is up.
    Stalled,
    /// A member failed for good.
    Failed(Error),
    /// Stdout or stdin failed.
    Io(io::Error),
}

impl<'a> Session<'a> {
    pub(crate) fn new(arguments: &'a ConsumeArgs, output: &'a Output, shutdown: Shutdown) -> Self {
        Self {
            arguments,
            output,
            shutdown,
            page: Page::new(),
            idle: Idle::new(arguments.idle_exit),
            given_up: 0,
            condemned: HashSet::new(),
            unread: Box::pin(output.stdout().closed()),
            json: output.is_json() || arguments.settle == Some(SettleMode::Stdin),
            token: 0,
            patience: None,
        }
    }

    /// Tells who joined.
    pub(crate) fn joined(&mut self, member: &MemberName, broker: &'static str) {
        let (member, group) = (member.to_string(), self.arguments.group.to_string());
        if self.json {
            self.page.record(&Record::Joined { member, group, broker });
        } else {
            self.output.tell(format_args!("{member}: joined {group} on {} ({broker})", self.arguments.stream));
        }
    }

    /// Takes down what happened, and hands out the delivery if it was one.
    pub(crate) fn take(&mut self, happening: Happening) -> Result<Option<Delivery>, End> {
        match happening {
            Happening::Delivery(delivery) => {
                self.idle.touch();
                Ok(Some(delivery))
            }
            Happening::Event(member, event) => {
                match &event {
                    Event::Assigned(_) => self.idle.touch(),
                    Event::Disconnected(_) => self.idle.disconnected(),
                    Event::Reconnected(_) => self.idle.reconnected(),
                    Event::DeadLettered { position, .. } if !self.condemned.remove(position) => self.given_up += 1,
                    _ => {}
                }
                match news::record(&member, &event, self.arguments.members > 1).filter(|_| self.json) {
                    Some(record) => self.page.record(&record),
                    None => self.output.tell(news::text(&member, &event)),
                }
                Ok(None)
            }
            Happening::Failed(error) => Err(End::Failed(error)),
            Happening::Ended => Err(End::Asked),
        }
    }

    /// A verdict sends the message at this position to the dead letters.
    pub(crate) fn condemn(&mut self, position: Position) {
        self.condemned.insert(position);
    }

    /// A delivery's line and the token that it has from now on.
    pub(crate) fn line(&mut self, delivery: &Delivery) -> (u64, Vec<u8>) {
        self.token += 1;
        (self.token, self.written_as(&DeliveryRecord::new(self.token, delivery), delivery))
    }

    /// The line of a message that `member` only looks at.
    pub(crate) fn browsed_line(&mut self, stored: &Stored, member: &MemberName) -> Vec<u8> {
        self.token += 1;
        self.written_as(&DeliveryRecord::browsed(self.token, stored, member), &stored.message)
    }

    fn written_as(&self, record: &DeliveryRecord<'_>, message: &Message) -> Vec<u8> {
        match self.json {
            true => line(record),
            false => [&**message.payload(), b"\n"].concat(),
        }
    }

    /// Resolves when there is a reason to leave that lies outside: a signal, nobody reads, or it is quiet. Cancel safe.
    pub(crate) async fn asked_to_leave(&mut self) -> End {
        tokio::select! {
            biased;
            () = self.shutdown.wait() => End::Asked,
            () = &mut self.unread => End::Unread,
            () = self.idle.expired() => End::Asked,
        }
    }

    /// Writes the page and settles what was on it. A reader that stalls is waited for until a signal and the drain
    /// time after it.
    pub(crate) async fn write(&mut self, mut seen: impl FnMut(Delivery)) -> Result<(), End> {
        let bytes = self.page.take_bytes();
        if bytes.is_empty() {
            return Ok(());
        }
        let overdue = async {
            self.shutdown.wait().await;
            tokio::time::sleep_until(*self.patience.get_or_insert_with(|| after(Instant::now(), self.arguments.drain)))
                .await;
        };
        let Written { bytes, result } = tokio::select! {
            biased;
            written = self.output.stdout().write(bytes) => written,
            () = overdue => return Err(End::Stalled),
        };
        self.page.written(bytes).for_each(&mut seen);
        result.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => End::Unread,
            _ => End::Io(error),
        })
    }

    /// Writes the report and says how it ended.
    pub(crate) async fn report(mut self, end: End, report: &CloseReport) -> Result<Exit, Failure> {
        if self.json {
            self.page.record(&Record::Report(Report::from(report)));
        } else {
            let CloseReport { delivered, acked, returned, dead_lettered, .. } = report;
            self.output.tell(format_args!(
                "delivered {delivered}, acked {acked}, returned {returned}, dead-lettered {dead_lettered}"
            ));
        }
        if matches!(end, End::Stalled) {
            // What is in the way is not written either.
            drop(self.page.take_bytes());
        }
        // Leaving may have taken all the time that there was.
        self.patience = self.patience.map(|until| until.max(Instant::now() + LAST_LINE));
        let end = match (self.write(drop).await, end) {
            (Err(worse @ (End::Io(_) | End::Stalled)), End::Asked) => worse,
            (_, end) => end,
        };
        match end {
            End::Failed(error) => Err(error.into()),
            End::Io(error) => Err(Failure::failed(format!("stdin or stdout failed: {error}"))),
            End::Stalled => Err(Failure::failed("nobody read stdout, and the time to leave was up")),
            End::Asked | End::Unread if report.unfinished > 0 => Err(Failure::failed(format!(
                "{} deliveries were given back unfinished after {:?}",
                report.unfinished, self.arguments.drain
            ))
            .advise("a longer --drain")),
            End::Asked | End::Unread if !report.clean => Err(Failure::failed(
                "the group was not left in good order: settlements that did not reach the broker in time come again",
            )
            .advise("see that the broker is reachable from here, or a longer --drain")),
            End::Asked | End::Unread => Ok(Exit::Done),
        }
    }
}

/// Tells of every member that joined.
pub(crate) fn announce(members: &Members, session: &mut Session<'_>) {
    for member in members.names() {
        session.joined(member, members.broker());
    }
}
