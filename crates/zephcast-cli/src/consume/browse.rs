//! `--settle none`: the stream is looked at, and nothing changes at the broker.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use zephcast::driver::{Browsed, Cursor, Stored};
use zephcast::{Client, CloseReport, Error, MemberName, Retry, Start};

use super::session::{End, Session};
use crate::args::consume::ConsumeArgs;
use crate::exit::{Exit, Failure, describe};
use crate::output::records::Record;
use crate::output::seconds;

/// How long after the end of the stream was reached it is looked at again; half of `--idle-exit` if that is shorter, so
/// that what comes in the meantime is seen.
const POLL: Duration = Duration::from_millis(250);

/// Prints what the stream holds and what is published later, until there is a reason to leave.
pub(crate) async fn run(client: &Client, start: Start, mut session: Session<'_>) -> Result<Exit, Failure> {
    let broker = client.capabilities().broker;
    if !client.capabilities().browse {
        return Err(Failure::usage(format!("unsupported: {} has no way to look without taking", broker.as_str()))
            .advise("consume with a group of its own: it sees every message and moves no other group"));
    }
    let browser = Browser::new(client, session.arguments, start);
    let member = session.arguments.member.clone().unwrap_or_else(MemberName::unique);
    let mut browsing = Browsing { browser, member, begun: false, printed: 0, away: None };
    let end = match browsing.run(&mut session).await {
        End::Failed(error) if !browsing.begun => return Err(error.into()),
        end => end,
    };
    let report = CloseReport { delivered: browsing.printed as u64, clean: true, ..CloseReport::default() };
    session.report(end, &report).await
}

struct Browsing<'a> {
    browser: Browser<'a>,
    /// Who looks: a name in the records, and nothing at the broker.
    member: MemberName,
    /// Whether a look worked.
    begun: bool,
    printed: usize,
    /// Since when the broker is away.
    away: Option<Instant>,
}

impl Browsing<'_> {
    async fn run(&mut self, session: &mut Session<'_>) -> End {
        loop {
            let left = session.arguments.count.map_or(usize::MAX, |count| count.saturating_sub(self.printed));
            if left == 0 || session.shutdown.requested() {
                return End::Asked;
            }
            let looked = tokio::select! {
                biased;
                looked = self.browser.look(left) => looked,
                end = session.asked_to_leave() => return end,
            };
            let step = match looked {
                Ok(messages) => {
                    self.reached(session);
                    self.print(session, messages).await
                }
                Err(error) if error.is_retryable() => {
                    self.failed(session, &error);
                    session.write(drop).await
                }
                Err(error) => return End::Failed(error),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn print(&mut self, session: &mut Session<'_>, messages: Vec<Stored>) -> Result<(), End> {
        if !messages.is_empty() {
            session.idle.touch();
        }
        for stored in &messages {
            let line = session.browsed_line(stored, &self.member);
            session.page.line(&line);
            self.printed += 1;
            if session.page.is_full() {
                session.write(drop).await?;
            }
        }
        session.write(drop).await
    }

    /// A look failed, and is tried again.
    fn failed(&mut self, session: &mut Session<'_>, error: &Error) {
        if self.away.is_some() {
            return;
        }
        self.away = Some(Instant::now());
        session.idle.disconnected();
        match session.json {
            true => session.page.record(&Record::Disconnected { reason: describe(error) }),
            false => session.output.tell(format_args!("disconnected, trying again: {}", describe(error))),
        }
    }

    /// A look worked.
    fn reached(&mut self, session: &mut Session<'_>) {
        if !std::mem::replace(&mut self.begun, true) {
            session.idle.touch();
            if !session.json {
                let ConsumeArgs { stream, group, .. } = session.arguments;
                session.output.tell(format_args!("looking at {stream}; {group} is neither joined nor moved"));
            }
        }
        let Some(since) = self.away.take() else { return };
        session.idle.reconnected();
        let seconds = seconds(since.elapsed());
        match session.json {
            true => session.page.record(&Record::Reconnected { seconds }),
            false => session.output.tell(format_args!("reconnected after {seconds} s")),
        }
    }
}

/// Looks again and again, each time where the last look ended.
struct Browser<'a> {
    client: &'a Client,
    arguments: &'a ConsumeArgs,
    cursor: Cursor,
    /// So many messages at a time: fewer after a look that failed, for a slow network.
    most: usize,
    failures: u32,
    /// Before the next look.
    pause: Duration,
}

impl<'a> Browser<'a> {
    fn new(client: &'a Client, arguments: &'a ConsumeArgs, start: Start) -> Self {
        let most = arguments.prefetch;
        Self { client, arguments, cursor: Cursor::Start(start), most, failures: 0, pause: Duration::ZERO }
    }

    /// What lies ahead, at most `left`; nothing at the end of the stream. Cancel safe.
    async fn look(&mut self, left: usize) -> Result<Vec<Stored>, Error> {
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
        let admin = self.client.admin();
        match admin.browse(&self.arguments.stream, &self.cursor, self.most.min(left)).await {
            Ok(Browsed { messages, next }) => {
                self.cursor = next;
                self.failures = 0;
                self.most = self.most.saturating_mul(2).min(self.arguments.prefetch);
                self.pause = if messages.is_empty() { self.poll() } else { Duration::ZERO };
                Ok(messages)
            }
            Err(error) => {
                self.failures += 1;
                self.most = (self.most / 4).max(1);
                let away = Retry::exponential(Duration::from_millis(100)).max_delay(Duration::from_secs(10));
                self.pause = away.delay(self.failures);
                Err(error)
            }
        }
    }

    fn poll(&self) -> Duration {
        self.arguments.idle_exit.map_or(POLL, |idle| POLL.min(idle / 2))
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use clap::Parser;
    use zephcast::ErrorKind;
    use zephcast::memory::{Fault, MemoryBroker};

    use super::*;
    use crate::args::{Cli, Command};

    fn arguments(more: &[&str]) -> ConsumeArgs {
        let line = ["zephcast", "consume", "orders", "--group", "g", "--settle", "none"];
        match Cli::try_parse_from([&line, more].concat()).expect("arguments").command {
            Command::Consume(arguments) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    async fn publish(client: &Client, numbers: std::ops::Range<u32>) {
        let publisher = client.publisher("orders").await.expect("a publisher");
        for n in numbers {
            publisher.publish(n.to_string()).await.expect("a receipt");
        }
    }

    fn payloads(messages: &[Stored]) -> Vec<&str> {
        messages.iter().map(|stored| stored.message.payload_str().expect("text")).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn looks_at_the_end_again_and_again_and_at_what_is_there_at_once() {
        let client = Client::new(MemoryBroker::new().driver());
        publish(&client, 0..5).await;
        for (more, pause) in
            [(&["--prefetch", "2"][..], POLL), (&["--prefetch", "2", "--idle-exit", "100ms"], POLL / 5)]
        {
            let arguments = arguments(more);
            let mut browser = Browser::new(&client, &arguments, Start::Earliest);
            let began = Instant::now();
            for expected in [&["0", "1"][..], &["2", "3"], &["4"], &[]] {
                assert_eq!(payloads(&browser.look(9).await.unwrap()), expected);
            }
            assert_eq!(began.elapsed(), Duration::ZERO);
            publish(&client, 5..6).await;
            let waited = Instant::now();
            assert_eq!(payloads(&browser.look(9).await.unwrap()), ["5"]);
            assert_eq!(waited.elapsed().as_millis(), pause.as_millis());
            client.admin().delete_stream(&arguments.stream).await.unwrap();
            publish(&client, 0..5).await;
        }
        assert_eq!(client.admin().stream(&arguments(&[]).stream).await.unwrap().groups, Some(Vec::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_failed_is_repeated_later_with_less_and_nothing_is_left_out() {
        let broker = MemoryBroker::new();
        let client = Client::new(broker.driver());
        publish(&client, 0..10).await;
        let arguments = arguments(&["--prefetch", "4"]);
        let mut browser = Browser::new(&client, &arguments, Start::Earliest);
        broker.faults().inject(Fault::lose_reply().times(2));
        for _ in 0..2 {
            assert_eq!(browser.look(9).await.unwrap_err().kind(), ErrorKind::Unavailable);
        }
        let mut lengths = Vec::new();
        let mut seen = Vec::new();
        while seen.len() < 10 {
            let messages = browser.look(9).await.unwrap();
            lengths.push(messages.len());
            seen.extend(payloads(&messages).into_iter().map(str::to_owned));
        }
        assert_eq!(lengths, [1, 2, 4, 3]);
        assert_eq!(seen.concat(), "0123456789");
    }
}
