//! `zephcast publish`: what comes in goes out, confirmed one by one.

mod account;
mod jsonl;
mod resend;
mod waiting;

use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use zephcast::{
    Client, Error, ErrorKind, Headers, Message, MessageId, PendingReceipt, PublishError, Publisher, Receipt,
};

use self::account::Account;
use self::resend::{Resend, Resends};
use crate::args::publish::PublishArgs;
use crate::exit::{Exit, Failure};
use crate::lines::{self, Line};
use crate::output::Output;
use crate::pace::Pace;
use crate::signals::Shutdown;

/// So many enqueued messages may wait to be accounted for.
const MOST_AHEAD: u32 = 10_000;

/// Publishes the argument, or else every line of stdin, and accounts for each.
pub(crate) async fn run(
    client: &Client,
    arguments: PublishArgs,
    output: &Output,
    mut shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let opening = client
        .publisher(&arguments.stream)
        .in_flight(arguments.in_flight)
        .timeout(arguments.timeout)
        .create(arguments.create);
    let Some(publisher) = shutdown.unless_asked(opening.into_future()).await else {
        return not_begun(output).await;
    };
    let publisher = publisher.map_err(Failure::or_create)?;
    let (outcomes, enqueued) = mpsc::channel(arguments.in_flight.min(MOST_AHEAD) as usize);
    let mut account = Account::new(output);
    let watched = publisher.clone();
    let all =
        async { tokio::join!(feed(publisher, arguments, output, outcomes, shutdown), count(enqueued, &mut account)) };
    let (fed, counted) = tokio::select! {
        done = all => done,
        never = waiting::tell(&watched, output) => match never {},
    };
    counted?;
    let exit = account.close().await?;
    match fed? {
        Fed::Unsent if exit == Exit::Done => Ok(Exit::Interrupted),
        Fed::Unsent | Fed::All => Ok(exit),
    }
}

/// The summary of nothing: it was asked to stop before there was a publisher.
pub(crate) async fn not_begun(output: &Output) -> Result<Exit, Failure> {
    Account::new(output).close().await?;
    Ok(Exit::Interrupted)
}

/// What became of the input.
enum Fed {
    /// What was read is on its way. An input that goes on is left at a signal.
    All,
    /// It was asked to stop with messages in hand.
    Unsent,
}

/// An input line on its way: its number, the id if it is known, and where its outcome will be.
struct Sent {
    n: u64,
    outcome: Sending,
}

enum Sending {
    Waiting(PendingReceipt, Option<Resend>),
    Ended(Option<MessageId>, PublishError),
}

/// Reads, parses and enqueues until the input ends or the process is asked to stop.
async fn feed(
    publisher: Publisher,
    arguments: PublishArgs,
    output: &Output,
    outcomes: mpsc::Sender<Sent>,
    mut shutdown: Shutdown,
) -> Result<Fed, Failure> {
    let parser = Parser::new(&arguments);
    let resends = Resends::of(&arguments, &publisher, &shutdown);
    let mut pace = arguments.rate.map(Pace::new);
    let mut input = match arguments.payload {
        Some(payload) => lines::once(payload.into_vec()),
        None => {
            if std::io::stdin().is_terminal() {
                output.tell("reading messages from the terminal, one a line; Ctrl-D ends");
            }
            lines::stdin()
        }
    };
    let mut n = 0;
    while let Some(batch) = tokio::select! { batch = input.recv() => batch, () = shutdown.wait() => None } {
        for line in batch.map_err(|error| Failure::failed(format!("reading stdin: {error}")))? {
            if let Some(pace) = &mut pace {
                tokio::select! { _ = pace.next() => {}, () = shutdown.wait() => {} }
            }
            if shutdown.requested() {
                return Ok(Fed::Unsent);
            }
            let outcome = match parser.message(n, line) {
                Ok(message) => {
                    let Some(resend) = shutdown.unless_asked(Resends::room(resends.as_ref(), &message)).await else {
                        return Ok(Fed::Unsent);
                    };
                    enqueue(&publisher, message, resend).await
                }
                Err(error) => Sending::Ended(None, PublishError::Failed(error)),
            };
            if outcomes.send(Sent { n, outcome }).await.is_err() {
                return Ok(Fed::All); // The account failed and says so itself.
            }
            n += 1;
        }
    }
    match input.try_recv() {
        Ok(_) => Ok(Fed::Unsent),
        Err(_) => Ok(Fed::All),
    }
}

async fn enqueue(publisher: &Publisher, message: Message, resend: Option<Resend>) -> Sending {
    let id = message.id().cloned();
    match publisher.enqueue(message).await {
        Ok(pending) => Sending::Waiting(pending, resend),
        Err(error) => Sending::Ended(id, error),
    }
}

/// Takes down outcomes in the order of confirmation, and writes whenever none is ready.
async fn count(mut enqueued: mpsc::Receiver<Sent>, account: &mut Account<'_>) -> std::io::Result<()> {
    let mut waiting = FuturesUnordered::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        tokio::select! {
            biased;
            () = std::future::ready(()), if account.is_full() => account.write().await?,
            Some((n, id, outcome)) = waiting.next() => account.add(n, Some(&id), &outcome),
            sent = enqueued.recv(), if open => match sent {
                Some(Sent { n, outcome: Sending::Waiting(pending, resend) }) => waiting.push(confirmed(n, pending, resend)),
                Some(Sent { n, outcome: Sending::Ended(id, error) }) => account.add(n, id.as_ref(), &Err(named(n, error))),
                None => open = false,
            },
            () = std::future::ready(()), if account.has_unwritten() => account.write().await?,
        }
    }
    account.write().await
}

async fn confirmed(
    n: u64,
    pending: PendingReceipt,
    resend: Option<Resend>,
) -> (u64, MessageId, Result<Receipt, PublishError>) {
    let id = pending.id().clone();
    let mut outcome = pending.await;
    if let Some(resend) = resend {
        outcome = resend.settle(&id, outcome).await;
    }
    (n, id, outcome.map_err(|error| named(n, error)))
}

/// With the line, where what came in is at fault and not the broker.
fn named(n: u64, error: PublishError) -> PublishError {
    match error {
        PublishError::Failed(error)
            if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::TooLarge)
                && !error.message().starts_with("line ") =>
        {
            let message = format!("line {}: {}", n + 1, error.message());
            PublishError::Failed(Error::new(error.kind(), error.operation(), message).caused_by(error))
        }
        other => other,
    }
}

/// Makes messages of input lines, with what the options say of all of them.
struct Parser {
    key: Option<Bytes>,
    headers: Headers,
    id: Option<MessageId>,
    jsonl: bool,
}

impl Parser {
    fn new(arguments: &PublishArgs) -> Self {
        let bytes = |text: &String| Bytes::from(text.clone());
        Self {
            key: arguments.key.as_ref().map(bytes),
            headers: arguments.headers.iter().map(|(name, value)| (bytes(name), Some(bytes(value)))).collect(),
            id: arguments.id.as_ref().map(|id| MessageId::new(id.clone())),
            jsonl: arguments.jsonl,
        }
    }

    fn message(&self, n: u64, line: Line) -> Result<Message, Error> {
        let bad = |kind, why: String| Error::new(kind, "read", format!("line {}: {why}", n + 1));
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong => return Err(bad(ErrorKind::TooLarge, lines::too_long())),
        };
        let mut message = match self.jsonl {
            true => jsonl::message(&line).map_err(|why| bad(ErrorKind::InvalidInput, why))?,
            false => Message::new(line),
        };
        if message.key().is_none()
            && let Some(key) = &self.key
        {
            message = message.with_key(key.clone());
        }
        if !self.headers.is_empty() {
            let own = std::mem::take(message.headers_mut());
            *message.headers_mut() = self.headers.clone().into_iter().chain(own).collect();
        }
        match &self.id {
            None => Ok(message),
            Some(_) if n > 0 => Err(bad(ErrorKind::InvalidInput, "--id is for one message, and line 1 has it".into())),
            Some(id) => Ok(message.with_id(id.clone())),
        }
    }
}
