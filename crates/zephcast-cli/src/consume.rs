//! `zephcast consume`: join a group, hand out its deliveries, settle them, leave in good order.

mod browse;
mod dialogue;
mod exec;
mod idle;
mod members;
mod news;
mod page;
mod printing;
mod session;
mod verdicts;

use zephcast::{Client, CloseReport, ConsumerBuilder, Retry};

use self::members::Members;
use self::session::{End, Session};
use crate::args::Format;
use crate::args::consume::{ConsumeArgs, SettleMode};
use crate::children::Children;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::output::stdout::Stdout;
use crate::signals::Shutdown;
use crate::start;

/// What can be refused before anything is connected.
pub(crate) fn check(arguments: &ConsumeArgs, output: Option<Format>, stdout: &Stdout) -> Result<(), Failure> {
    start::check("--from", &arguments.from)?;
    if arguments.exec.is_none() && arguments.settle.is_none() && stdout.was_closed() {
        return Err(Failure::usage("stdout is closed, and what is printed there would be acked")
            .advise("let stdout go somewhere, or --exec true to ack everything unseen"));
    }
    match arguments.settle {
        Some(SettleMode::Stdin) if output == Some(Format::Text) => {
            Err(Failure::usage("verdicts name deliveries by their token, which text does not show")
                .advise("leave out --output text; --settle stdin writes JSON"))
        }
        Some(SettleMode::Stdin) if arguments.ordered_by_key => Err(Failure::usage(
            "--ordered-by-key is for --exec: with --settle stdin deliveries come in order, and whoever \
                                sends the verdicts decides what runs side by side",
        )),
        Some(SettleMode::None) if arguments.create || arguments.members > 1 => {
            Err(Failure::usage("--settle none only looks: it creates no stream and has no members")
                .advise("leave out --create and --members"))
        }
        _ => Ok(()),
    }
}

/// Consumes until there is a reason to leave.
pub(crate) async fn run(
    client: &Client,
    arguments: &ConsumeArgs,
    output: &Output,
    mut shutdown: Shutdown,
    children: Children,
) -> Result<Exit, Failure> {
    if let Some(command) = &arguments.exec {
        let session = Session::new(arguments, output, shutdown);
        return exec::run(client, command, session, children).await;
    }
    if arguments.settle == Some(SettleMode::None) {
        let start = start::parse("--from", &arguments.from, client.capabilities())?;
        return browse::run(client, start, Session::new(arguments, output, shutdown)).await;
    }
    let joining = Members::join(client, arguments, builder(client, arguments)?);
    let Some(members) = shutdown.unless_asked(joining).await else {
        return not_begun(arguments, output, shutdown).await;
    };
    let members = members.map_err(Failure::or_create)?;
    let session = Session::new(arguments, output, shutdown);
    match arguments.settle {
        Some(_) => dialogue::run(members, session).await,
        None => printing::run(members, session).await,
    }
}

/// The report of nothing: it was asked to stop before there was a broker.
pub(crate) async fn not_begun(arguments: &ConsumeArgs, output: &Output, shutdown: Shutdown) -> Result<Exit, Failure> {
    let report = CloseReport { clean: true, ..CloseReport::default() };
    Session::new(arguments, output, shutdown).report(End::Asked, &report).await
}

/// A member as the options describe it, but for its name.
fn builder(client: &Client, arguments: &ConsumeArgs) -> Result<ConsumerBuilder, Failure> {
    Ok(client
        .consumer(&arguments.stream)
        .group(&arguments.group)
        .start_at(start::parse("--from", &arguments.from, client.capabilities())?)
        .prefetch(prefetch(arguments))
        .lease(arguments.lease)
        .drain(arguments.drain)
        .retry(retry(arguments))
        .create(arguments.create))
}

/// What will not be handed out is not fetched either: other members can have it.
fn prefetch(arguments: &ConsumeArgs) -> usize {
    arguments.count.map_or(arguments.prefetch, |count| count.min(arguments.prefetch))
}

fn retry(arguments: &ConsumeArgs) -> Retry {
    Retry::exponential(arguments.retry_delay).max_attempts(arguments.max_attempts)
}
