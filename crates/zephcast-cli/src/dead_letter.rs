//! `zephcast dead-letter`: what a group gave up on, and what to do with it.

use std::collections::BTreeSet;

use zephcast::driver::{DeadLetter, Redrive};
use zephcast::{Client, Position, Result};

use crate::args::Whose;
use crate::args::dead_letter::{DeadLetterCommand, DeadLetterListArgs, PurgeArgs, RedriveArgs};
use crate::confirm;
use crate::exit::{Exit, Failure};
use crate::output::messages::DeadLetterRecord;
use crate::output::records::Record;
use crate::output::{Output, printable};
use crate::signals::Shutdown;

/// What can be refused before anything is connected.
pub(crate) fn check(command: &DeadLetterCommand) -> Result<(), Failure> {
    match command {
        DeadLetterCommand::Purge(PurgeArgs { whose: Whose { stream, group }, yes }) => {
            confirm::destroy(&format!("remove every dead letter of {group} on {stream}"), *yes)
        }
        _ => Ok(()),
    }
}

/// Does what the subcommand says.
pub(crate) async fn run(
    client: &Client,
    command: DeadLetterCommand,
    output: &Output,
    mut shutdown: Shutdown,
) -> Result<Exit, Failure> {
    match command {
        DeadLetterCommand::List(arguments) => list(client, &arguments, output, &mut shutdown).await,
        DeadLetterCommand::Redrive(arguments) => redrive(client, &arguments, output, &mut shutdown).await,
        DeadLetterCommand::Purge(PurgeArgs { whose: Whose { stream, group }, .. }) => {
            output.progress("purging...");
            let purged = shutdown.finish(client.admin().purge_dead_letters(&stream, &group)).await;
            output.progress("");
            let unknown = || Failure::unknown(format_args!("the dead letters of {group} on {stream:?} were removed"));
            let count = purged.ok_or_else(unknown)??;
            output.show(&Record::Purged { count }, |_| format!("purged {count}")).await?;
            Ok(Exit::Done)
        }
    }
}

async fn list(
    client: &Client,
    arguments: &DeadLetterListArgs,
    output: &Output,
    shutdown: &mut Shutdown,
) -> Result<Exit, Failure> {
    let Some(letters) = shutdown.unless_asked(Letters::of(client, &arguments.whose)).await else {
        return Ok(Exit::Interrupted);
    };
    let mut letters = letters?;
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    while left > 0 {
        if shutdown.requested() {
            return Ok(Exit::Interrupted);
        }
        let Some(letter) = shutdown.unless_asked(letters.next()).await else { return Ok(Exit::Interrupted) };
        let Some(letter) = letter? else { break };
        output.show(&DeadLetterRecord(&letter), |_| text(&letter)).await?;
        left -= 1;
    }
    Ok(Exit::Done)
}

async fn redrive(
    client: &Client,
    arguments: &RedriveArgs,
    output: &Output,
    shutdown: &mut Shutdown,
) -> Result<Exit, Failure> {
    let Whose { stream, group } = &arguments.whose;
    let mut letters = match shutdown.unless_asked(Letters::of(client, &arguments.whose)).await {
        Some(letters) => letters?,
        None => Letters::none(client, &arguments.whose),
    };
    let limit = arguments.limit.unwrap_or(usize::MAX);
    let mut done = Done { count: 0, missing: arguments.ids.iter().map(String::as_str).collect() };
    let outcome = loop {
        match batch(arguments, &mut letters, limit - done.count, shutdown).await {
            Ok(batch) if batch.is_empty() => break Ok(Exit::Done),
            Ok(batch) => match send_back(client, &arguments.whose, &batch, &mut done, output, shutdown).await {
                Ok(()) => {}
                Err(ended) => break ended,
            },
            Err(ended) => break ended,
        }
    };
    let Done { count: redriven, missing } = done;
    output.progress("");
    // What was done is told also when the rest failed.
    output.show(&Record::Redriven { count: redriven as u64 }, |_| format!("redriven {redriven}")).await?;
    let exit = outcome?;
    match missing.is_empty() || redriven >= limit || exit == Exit::Interrupted {
        true => Ok(exit),
        false => Err(Failure::failed(format!(
            "no dead letter of {group:?} on {stream:?} has the id {}",
            missing.into_iter().map(printable).collect::<Vec<_>>().join(", ")
        ))
        .advise("`zephcast dead-letter list` shows their ids and reasons")),
    }
}

/// How the command ends.
type Ended = Result<Exit, Failure>;

/// What was redriven so far.
struct Done<'a> {
    count: usize,
    /// The ids that no letter had.
    missing: BTreeSet<&'a str>,
}

/// The next dead letters that are meant, at most so many, and of one page; none at the end.
///
/// # Errors
/// How the command ends instead.
async fn batch(
    arguments: &RedriveArgs,
    letters: &mut Letters<'_>,
    limit: usize,
    shutdown: &mut Shutdown,
) -> Result<Vec<DeadLetter>, Ended> {
    let mut batch = Vec::new();
    // More than a page may not fit into memory.
    while batch.len() < limit && (batch.is_empty() || letters.page.len() > 0) {
        if shutdown.requested() {
            return Err(Ok(Exit::Interrupted));
        }
        match shutdown.unless_asked(letters.next()).await {
            Some(Ok(Some(letter))) if is_meant(arguments, &letter) => batch.push(letter),
            Some(Ok(Some(_))) => {}
            Some(Ok(None)) if shutdown.requested() => return Err(Ok(Exit::Interrupted)),
            Some(Ok(None)) => break,
            Some(Err(error)) => return Err(Err(error.into())),
            None => return Err(Ok(Exit::Interrupted)),
        }
    }
    Ok(batch)
}

/// Redrives them, as many at a time as the broker does at once.
///
/// # Errors
/// How the command ends instead.
async fn send_back(
    client: &Client,
    Whose { stream, group }: &Whose,
    mut batch: &[DeadLetter],
    done: &mut Done<'_>,
    output: &Output,
    shutdown: &mut Shutdown,
) -> Result<(), Ended> {
    while !batch.is_empty() {
        if shutdown.requested() {
            return Err(Ok(Exit::Interrupted));
        }
        let places: Vec<Position> = batch.iter().map(|letter| letter.position).collect();
        let Some(answers) = shutdown.finish(client.admin().redrive_some(stream, group, &places)).await else {
            let places = places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(Err(Failure::unknown(format_args!("{places} on {stream:?} was redriven"))));
        };
        let (answered, rest) = batch.split_at(answers.len().clamp(1, batch.len()));
        let mut failed = None;
        for (letter, answer) in answered.iter().zip(answers) {
            match answer {
                Ok(redrive) => {
                    // Or somebody else took it in the meantime.
                    done.count += usize::from(redrive == Redrive::Redriven);
                    done.missing.retain(|id| !names(id, letter));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        output.progress(&format!("redriven {}", done.count));
        if let Some(error) = failed {
            return Err(Err(error.into()));
        }
        batch = rest;
    }
    Ok(())
}

fn is_meant(arguments: &RedriveArgs, letter: &DeadLetter) -> bool {
    let by_id = arguments.ids.is_empty() || arguments.ids.iter().any(|id| names(id, letter));
    by_id && arguments.filter_reason.as_ref().is_none_or(|text| letter.reason.contains(text))
}

/// Whether this is the letter's id, or where it lies: foreign messages have no id.
fn names(id: &str, letter: &DeadLetter) -> bool {
    letter.message.id().is_some_and(|own| **own.as_bytes() == *id.as_bytes()) || letter.position.to_string() == id
}

fn text(letter: &DeadLetter) -> String {
    let id = letter.message.id().map(ToString::to_string).unwrap_or_default();
    let DeadLetter { position, reason, attempts, origin, .. } = letter;
    printable(&format!("{position}  id {id}, from {origin}, {attempts} attempts, {reason}"))
}

/// The dead letters in order, page by page: those that were there at the beginning, since what is redriven and fails
/// again comes back at the end.
struct Letters<'a> {
    client: &'a Client,
    whose: &'a Whose,
    page: std::vec::IntoIter<DeadLetter>,
    after: Option<Position>,
    left: u64,
    /// So many are read at a time.
    at_once: usize,
}

impl<'a> Letters<'a> {
    async fn of(client: &'a Client, whose: &'a Whose) -> Result<Self> {
        let there = client.group_status(&whose.stream, &whose.group).await?.dead_letters;
        Ok(Self { left: there.unwrap_or(u64::MAX), ..Self::none(client, whose) })
    }

    fn none(client: &'a Client, whose: &'a Whose) -> Self {
        let at_once = client.capabilities().dead_letters_at_once.max(1);
        Self { client, whose, page: Vec::new().into_iter(), after: None, left: 0, at_once }
    }

    async fn next(&mut self) -> Result<Option<DeadLetter>> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.page.len() == 0 {
            let Whose { stream, group } = self.whose;
            self.page = self.client.admin().dead_letters(stream, group, self.after, self.at_once).await?.into_iter();
        }
        let next = self.page.next();
        if let Some(letter) = &next {
            self.after = Some(letter.position);
            self.left -= 1;
        }
        Ok(next)
    }
}
