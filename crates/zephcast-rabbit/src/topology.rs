//! Exchanges, queues and bindings: what a stream and a group are at the broker.

mod arguments;
mod bindings;

use lapin::ExchangeKind;
use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use zephcast_core::{Error, ErrorKind, Result, StreamName};

use self::arguments::{insert, log, of_group, quorum, text};
pub(crate) use self::bindings::{bind, is_bound, is_bound_alike};
use crate::RabbitConfig;
use crate::config::{Exchange, QueueType, Topology};
use crate::connection::Connection;
use crate::errand::Errand;
use crate::error::{code, invalid, missing, missing_group, unless_deleted};
use crate::link::CallFailure;
use crate::management::Management;
use crate::names::Names;
use crate::roll_call;

/// Makes sure that there is a stream, and that its exchange can be published to; whether it had to be made.
///
/// # Errors
/// `NotFound` when it is missing and must not be made.
pub(crate) async fn stream(
    connection: &Connection,
    operation: &'static str,
    config: &RabbitConfig,
    stream: &StreamName,
    create: bool,
) -> Result<bool> {
    if config.topology == Topology::Expect {
        return Ok(false);
    }
    if config.exchange == Exchange::Default {
        if create && config.topology == Topology::Declare {
            declare(connection, operation, config, stream).await?;
        }
        return Ok(false);
    }
    if has_exchange(connection, operation, stream.as_str()).await? {
        // Whoever asks for something in particular is not given something else.
        if config.topology == Topology::Declare && config.asks_of_exchange() {
            unless_hidden(declare(connection, operation, config, stream).await)?;
        }
        return Ok(false);
    }
    if !create || config.topology == Topology::Check {
        return Err(missing(operation, stream.as_str()));
    }
    declare(connection, operation, config, stream).await.map(|()| true)
}

/// Declares a stream. One that exists alike is fine.
///
/// # Errors
/// `Conflict`, in the server's words, which name the difference, when it exists otherwise.
pub(crate) async fn declare(
    connection: &Connection,
    operation: &'static str,
    config: &RabbitConfig,
    stream: &StreamName,
) -> Result<()> {
    if config.exchange == Exchange::Default {
        // Otherwise the queue is a group's, and comes with it.
        return match config.queue_type {
            QueueType::Stream => ensure(connection, operation, config.queue_behind(stream), &log()).await.map(drop),
            QueueType::Quorum | QueueType::Classic => Ok(()),
        };
    }
    let errand = Errand::begin(connection, operation).await?;
    declare_exchange(&errand, stream, config).await.map_err(advised)
}

/// Who may not configure a thing that exists may not compare it either, and uses it as it is.
fn unless_hidden(compared: Result<()>) -> Result<()> {
    match compared {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            tracing::warn!(%error, "whether what exists is as the settings ask for cannot be seen without the right to configure it");
            Ok(())
        }
        compared => compared,
    }
}

/// What to do where something exists otherwise than it is asked for.
fn advised(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Conflict => error.advise(
            "leave the settings away that say how it is made, or use `topology=check`, to have it as it is; or delete it",
        ),
        _ => error,
    }
}

/// Whether there is the exchange of a stream, if it has to have one.
pub(crate) async fn has_stream(connection: &Connection, operation: &'static str, stream: &StreamName) -> Result<bool> {
    match (&connection.config().exchange, &connection.config().topology) {
        (Exchange::Default, _) | (_, Topology::Expect) => Ok(true),
        _ => has_exchange(connection, operation, stream.as_str()).await,
    }
}

/// Whether there is an exchange of this name.
pub(crate) async fn has_exchange(connection: &Connection, operation: &'static str, name: &str) -> Result<bool> {
    let errand = Errand::begin(connection, operation).await?;
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let asked = errand.channel().exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default());
    found(&errand, errand.try_call(asked).await)
}

/// Whether there is a queue of this name; how many messages are ready in it and how many consume.
pub(crate) async fn queue(connection: &Connection, operation: &'static str, name: &str) -> Result<Option<(u64, u64)>> {
    let errand = Errand::begin(connection, operation).await?;
    match figures(&errand, name).await {
        Ok(figures) => Ok(Some(figures)),
        Err(failure) if failure.has_code(code::NOT_FOUND) => match errand.failed(failure) {
            away if away.is_retryable() => Err(away),
            _ => Ok(None),
        },
        Err(failure) => Err(errand.failed(failure)),
    }
}

/// How many messages are ready in a queue, and how many consume.
pub(crate) async fn figures(errand: &Errand<'_>, name: &str) -> Result<(u64, u64), CallFailure> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asked = errand.channel().queue_declare(name.into(), options, FieldTable::default());
    let queue = errand.try_call(asked).await?;
    Ok((queue.message_count().into(), queue.consumer_count().into()))
}

fn found(errand: &Errand<'_>, answer: Result<(), CallFailure>) -> Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(failure) if failure.has_code(code::NOT_FOUND) => Ok(false),
        Err(failure) => Err(errand.failed(failure)),
    }
}

/// What a group was found to be, or was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    /// Whether its queue had to be made.
    pub(crate) is_new: bool,
    /// Whether somebody saw to it that it gets something in particular, of which these settings say nothing.
    pub(crate) is_particular: bool,
}

/// Makes sure that there is a group, with the queues beside its own, and that it gets what it is to get. `known`: what it
/// was found to be before.
///
/// # Errors
/// `NotFound` when stream or group are missing and must not be made; `Conflict` when the queue exists otherwise than the
/// settings ask for in particular.
pub(crate) async fn group(
    connection: &Connection,
    management: Option<&Management>,
    operation: &'static str,
    config: &RabbitConfig,
    names: &Names,
    create_stream: bool,
    known: Option<Found>,
) -> Result<Found> {
    let known = match config.topology {
        Topology::Expect => return Ok(Found::default()),
        Topology::Check => {
            stream(connection, operation, config, &names.stream, false).await?;
            return match queue(connection, operation, &names.queue).await? {
                Some(_) => Ok(Found::default()),
                None => Err(missing_group(operation, names.stream.as_str(), names.group.as_str())),
            };
        }
        Topology::Declare => {
            gets_something(connection, operation, config, names).await?;
            let is_new = stream(connection, operation, config, &names.stream, create_stream).await?;
            // Nothing is bound to that.
            if is_new { Some(Found::default()) } else { known }
        }
    };
    let found = declare_group(connection, management, operation, config, names, known).await;
    found.map_err(|error| unless_deleted(operation, error))
}

/// Makes sure, before anything is made, that a group that is made gets something.
///
/// # Errors
/// `InvalidInput` otherwise.
pub(crate) async fn gets_something(
    connection: &Connection,
    operation: &'static str,
    config: &RabbitConfig,
    names: &Names,
) -> Result<()> {
    if !bindings::gets_nothing(config) || queue(connection, operation, &names.queue).await?.is_some() {
        return Ok(());
    }
    let text =
        "an exchange of this type has no routing key for everything: say which ones a group gets, as `binding=KEY`";
    Err(invalid(operation, text))
}

async fn declare_group(
    connection: &Connection,
    management: Option<&Management>,
    operation: &'static str,
    config: &RabbitConfig,
    names: &Names,
    known: Option<Found>,
) -> Result<Found> {
    let is_new = queue(connection, operation, &names.queue).await?.is_none();
    if config.queue_type == QueueType::Stream {
        ensure(connection, operation, &names.queue, &log()).await?;
        return bind(connection, operation, config, names).await.map(|()| Found::default());
    }
    // What the group's queue gives up goes there, so it comes first.
    ensure(connection, operation, &names.dead, &quorum()).await?;
    ensure(connection, operation, &names.suspects, &quorum()).await?;
    if is_new {
        // For members that make none.
        let errand = Errand::begin(connection, operation).await?;
        errand.call(roll_call::declare(errand.channel(), names)).await?;
        declare_queue(connection, operation, &names.queue, &of_group(config, names)).await?;
    }
    if !is_new && config.asks_of_queue() {
        unless_hidden(is_alike(connection, operation, config, names).await)?;
    }
    let known = known.map(|known| known.is_particular);
    let is_particular = !is_new && bindings::is_particular(management, operation, config, names, known).await;
    if is_particular {
        tracing::info!(queue = %names.queue, "somebody bound the queue by something in particular: it is left so");
    } else {
        bind(connection, operation, config, names).await?;
    }
    Ok(Found { is_new, is_particular })
}

/// Makes sure that the queue of a group that exists is as these settings have it.
///
/// # Errors
/// `Conflict`, in the server's words, which name the difference.
pub(crate) async fn is_alike(
    connection: &Connection,
    operation: &'static str,
    config: &RabbitConfig,
    names: &Names,
) -> Result<()> {
    match config.topology {
        Topology::Declare => {
            let declared = declare_queue(connection, operation, &names.queue, &of_group(config, names)).await;
            declared.map_err(advised)
        }
        Topology::Check | Topology::Expect => Ok(()),
    }
}

/// Makes sure that there is a queue in which messages wait before they come back to the group's.
pub(crate) async fn retry(connection: &Connection, operation: &'static str, names: &Names, name: &str) -> Result<()> {
    ensure(connection, operation, name, &arguments::waiting_for(&names.queue)).await.map(drop)
}

/// Makes sure that the group's dead letters have their queue.
pub(crate) async fn dead(connection: &Connection, operation: &'static str, names: &Names) -> Result<()> {
    ensure(connection, operation, &names.dead, &quorum()).await.map(drop)
}

/// Makes sure that the group's suspects have their queue.
pub(crate) async fn suspects(connection: &Connection, operation: &'static str, names: &Names) -> Result<()> {
    ensure(connection, operation, &names.suspects, &quorum()).await.map(drop)
}

/// Makes sure that there is a queue for hints, which may be lost and need not be replicated.
pub(crate) async fn hints(connection: &Connection, operation: &'static str, name: &str) -> Result<()> {
    ensure(connection, operation, name, &arguments::hints()).await.map(drop)
}

/// Whether a queue that exists is a stream queue. Asked by consuming it from an offset and without a limit, which every
/// queue refuses: a stream queue wants a limit, any other knows of no offset.
pub(crate) async fn is_log(connection: &Connection, operation: &'static str, name: &str) -> Result<bool> {
    let errand = Errand::begin(connection, operation).await?;
    let mut arguments = FieldTable::default();
    insert(&mut arguments, "x-stream-offset", text("next"));
    let options = BasicConsumeOptions::default();
    let consumed = errand.channel().basic_consume(name.into(), ShortString::default(), options, arguments);
    match errand.try_call(consumed).await {
        Err(failure) if failure.has_code(code::PRECONDITION_FAILED) => {
            Ok(errand.failed(failure).message().contains("prefetch"))
        }
        Err(failure) => Err(errand.failed(failure)),
        Ok(_) => Ok(false),
    }
}

/// Declares a queue unless there is one: what exists is somebody's decision. Whether it had to.
async fn ensure(connection: &Connection, operation: &'static str, name: &str, arguments: &FieldTable) -> Result<bool> {
    if queue(connection, operation, name).await?.is_some() {
        return Ok(false);
    }
    declare_queue(connection, operation, name, arguments).await.map(|()| true)
}

async fn declare_queue(
    connection: &Connection,
    operation: &'static str,
    name: &str,
    arguments: &FieldTable,
) -> Result<()> {
    let errand = Errand::begin(connection, operation).await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    errand.call(errand.channel().queue_declare(name.into(), options, arguments.clone())).await.map(drop)
}

async fn declare_exchange(errand: &Errand<'_>, stream: &StreamName, config: &RabbitConfig) -> Result<()> {
    let kind = match &config.exchange {
        Exchange::Topic | Exchange::Default => ExchangeKind::Topic,
        Exchange::Fanout => ExchangeKind::Fanout,
        Exchange::Direct => ExchangeKind::Direct,
        Exchange::Headers => ExchangeKind::Headers,
        Exchange::ConsistentHash => ExchangeKind::Custom(config.exchange.as_str().into()),
    };
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    if let Some(alternate) = &config.alternate_exchange {
        insert(&mut arguments, "alternate-exchange", text(alternate));
    }
    let declared = errand.channel().exchange_declare(stream.as_str().into(), kind, options, arguments);
    errand.call(declared).await
}
