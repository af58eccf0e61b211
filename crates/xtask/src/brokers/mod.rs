//! Real brokers for development and tests. A broker is found in this order: the URL in its environment variable, the
//! one that `up` started before, Docker Compose where an engine answers, a native server (installed when that is
//! allowed).
//!
//! A new broker is one file beside [`redis`] and a line in each `match` of [`recipe`].

mod compose;
mod kafka;
mod native;
mod packages;
mod partial;
mod ports;
mod rabbitmq;
mod recipe;
mod record;
mod redis;
mod session;
mod turn;
mod url;
mod wanted;

use std::process::ExitCode;

use anyhow::{Context, bail};

pub(crate) use self::recipe::Broker;
use self::record::{How, Record};
pub(crate) use self::session::{Session, with_brokers};
use self::turn::turn;
use self::url::{from_environment, reachable, redacted};
pub(crate) use self::wanted::Wanted;
use crate::process::{Interrupted, interruption};
use crate::table;
use crate::workspace::Workspace;

/// A broker that answers, and whether this call started it.
struct Found {
    url: String,
    /// As it may be printed.
    shown: String,
    how: String,
    started: bool,
}

/// Starts what does not run yet, empty, and prints a URL a line.
pub(crate) async fn up(brokers: &[Broker], wanted: &Wanted) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::read()?;
    for broker in chosen(brokers) {
        wanted.check(*broker)?;
    }
    let all_up = async {
        for broker in chosen(brokers) {
            let found = ensure_up(*broker, wanted, &workspace).await.with_context(|| broker.name())?;
            eprintln!("{}: {} ({})", broker.name(), if found.started { "started" } else { "already up" }, found.how);
            println!("{}", found.shown);
        }
        Ok(ExitCode::SUCCESS)
    };
    // Dropped, what is being started ends; what was printed stays.
    tokio::select! {
        up = all_up => up,
        interrupted = interruption() => Err(interrupted.map_or_else(|error| error, Interrupted::into)),
    }
}

/// Stops what [`up`] started; leaves anything else alone.
pub(crate) async fn down(brokers: &[Broker]) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::read()?;
    for broker in chosen(brokers) {
        let said = stop(*broker, &workspace).await.with_context(|| broker.name())?;
        println!("{}: {said}", broker.name());
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what runs where.
pub(crate) async fn status(brokers: &[Broker]) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::read()?;
    let mut rows = Vec::new();
    for broker in chosen(brokers) {
        let row = match (from_environment(*broker), Record::load(*broker, &workspace)?) {
            (Some(url), _) => {
                let state = if reachable(*broker, &url).await.is_ok() { "up" } else { "unreachable" };
                [broker.name(), state, broker.recipe().url_variable, &redacted(&url)].map(str::to_owned)
            }
            (None, Some(record)) => {
                let state = match (record.answering(*broker).await, record.nodes.len()) {
                    (0, _) => "not answering".to_owned(),
                    (answering, nodes) if answering == nodes => "up".to_owned(),
                    (answering, nodes) => format!("{answering} of {nodes} answer"),
                };
                [broker.name().to_owned(), state, record.to_string(), record.url(*broker)]
            }
            (None, None) => [broker.name(), "down", "-", "-"].map(str::to_owned),
        };
        rows.push(row);
    }
    print!("{}", table::render(["broker", "state", "how", "url"], &[], &rows));
    Ok(ExitCode::SUCCESS)
}

async fn ensure_up(broker: Broker, wanted: &Wanted, workspace: &Workspace) -> anyhow::Result<Found> {
    if let Some(url) = from_environment(broker) {
        if !wanted.is_anything() {
            bail!("{} is set: what runs there has its own version and nodes", broker.recipe().url_variable);
        }
        reachable(broker, &url).await?;
        let how = format!("{} is set", broker.recipe().url_variable);
        return Ok(Found { shown: redacted(&url), url, how, started: false });
    }
    let _turn = turn(broker, workspace).await?;
    if let Some(record) = Record::load(broker, workspace)? {
        let down = format!("`cargo xtask brokers down {}` ends it", broker.name());
        if record.is_ours(broker) {
            if !wanted.is_met_by(&record) {
                bail!("another one is up ({record}); {down}");
            }
            return match (record.answering(broker).await, record.nodes.len()) {
                (0, _) => bail!("{record} runs and does not answer; {down}"),
                (some, all) if some < all => bail!("{some} of {all} nodes answer ({record}); {down}"),
                _ => Ok(found(broker, &record, false)),
            };
        }
        forget(broker, &record, workspace)?;
    }
    let record = start(broker, wanted, workspace).await?;
    Ok(found(broker, &record, true))
}

/// Starts a broker and records it; dropped before, nothing is left behind.
async fn start(broker: Broker, wanted: &Wanted, workspace: &Workspace) -> anyhow::Result<Record> {
    // The compose files are of one node.
    if wanted.nodes() == 1 && compose::engine_answers().await {
        match compose::start(broker, wanted, workspace).await {
            Ok(record) => return Ok(record),
            Err(error) => eprintln!("{}: not by Docker Compose ({error:#}), so natively", broker.name()),
        }
    }
    native::start(broker, wanted, workspace).await
}

async fn stop(broker: Broker, workspace: &Workspace) -> anyhow::Result<String> {
    let _turn = turn(broker, workspace).await?;
    let Some(record) = Record::load(broker, workspace)? else {
        return Ok("nothing to stop".to_owned());
    };
    let said = match record.how {
        How::Compose => {
            compose::stop(broker, workspace).await?;
            format!("stopped ({record})")
        }
        How::Native if !record.is_ours(broker) => format!("{record} is gone already"),
        How::Native => {
            native::stop(broker, &record).await?;
            format!("stopped ({record})")
        }
    };
    forget(broker, &record, workspace)?;
    Ok(said)
}

/// Removes what is known of a broker whose processes are gone, and what these left behind.
fn forget(broker: Broker, record: &Record, workspace: &Workspace) -> anyhow::Result<()> {
    if record.how == How::Native {
        for node in &record.nodes {
            broker.end_helpers(&node.ports);
        }
    }
    Record::remove(broker, workspace)
}

fn found(broker: Broker, record: &Record, started: bool) -> Found {
    // Passwords of our own servers are no secrets.
    let url = record.url(broker);
    Found { shown: url.clone(), url, how: record.to_string(), started }
}

fn chosen(brokers: &[Broker]) -> &[Broker] {
    if brokers.is_empty() { Broker::ALL } else { brokers }
}
