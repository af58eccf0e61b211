//! Which messages of a stream a group gets.

use std::time::Duration;

use lapin::options::QueueBindOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use zephcast_core::{ErrorKind, Result};

use super::arguments::{insert, text};
use crate::RabbitConfig;
use crate::config::{Binding, BindingValue, Exchange, Topology};
use crate::connection::Connection;
use crate::errand::Errand;
use crate::error::error;
use crate::management::{Binding as Bound, Management};
use crate::names::Names;

/// How long a management API is waited for that a URL names; it alone knows what is bound.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one is waited for that may not be there.
const GLANCE: Duration = Duration::from_millis(500);

/// Makes sure that a group gets what it is to get of a stream that exists. What is bound already stays so.
///
/// # Errors
/// `NotFound` when there is no such stream.
pub(crate) async fn bind(
    connection: &Connection,
    operation: &'static str,
    config: &RabbitConfig,
    names: &Names,
) -> Result<()> {
    if !are_made(config) || gets_nothing(config) {
        return Ok(());
    }
    let everything = [everything(&config.exchange)];
    let bindings = if config.bindings.is_empty() { &everything } else { &config.bindings[..] };
    let errand = Errand::begin(connection, operation).await?;
    for binding in bindings {
        bind_by(&errand, names, binding).await.map_err(|error| match config.bindings.is_empty() {
            true => {
                error.advise("where the exchange is of another type, say of which, as `exchange=x-consistent-hash`")
            }
            false => error,
        })?;
    }
    Ok(())
}

/// Whether a group that exists gets something in particular, and these settings ask for nothing: then it is left so. Where
/// nobody can say, what was `known` before holds. An API that may not be there is asked once.
pub(super) async fn is_particular(
    management: Option<&Management>,
    operation: &'static str,
    config: &RabbitConfig,
    names: &Names,
    known: Option<bool>,
) -> bool {
    if !are_made(config) || !config.bindings.is_empty() {
        return false;
    }
    if let Some(known) = known.filter(|_| config.management.is_empty()) {
        return known;
    }
    let everything = everything(&config.exchange);
    match bound(management, operation, config, names).await {
        Some(bound) => !bound.is_empty() && !bound.iter().any(|bound| is_same(bound, &everything)),
        None => known.unwrap_or(false),
    }
}

/// Whether a group is bound to its stream by anything; `None` where nobody can say.
pub(crate) async fn is_bound(
    management: Option<&Management>,
    operation: &'static str,
    config: &RabbitConfig,
    names: &Names,
) -> Option<bool> {
    bound(management, operation, config, names).await.map(|bound| !bound.is_empty())
}

/// Makes sure that a group gets nothing that these settings do not ask for, as far as anybody can say.
///
/// # Errors
/// `Conflict`, naming the difference.
pub(crate) async fn is_bound_alike(
    management: Option<&Management>,
    operation: &'static str,
    config: &RabbitConfig,
    names: &Names,
) -> Result<()> {
    if !are_made(config) {
        return Ok(());
    }
    let bound = bound(management, operation, config, names).await.unwrap_or_default();
    let is_asked_for = |bound: &Bound| config.bindings.iter().any(|binding| is_same(bound, binding));
    match bound.iter().find(|bound| !is_asked_for(bound)) {
        Some(Bound { routing_key, arguments, .. }) => {
            let with = match arguments.is_empty() {
                true => String::new(),
                false => format!(" with {}", Value::from(arguments.clone())),
            };
            let text = format!(
                "the queue {:?} is bound by {routing_key:?}{with} already, which was not asked for",
                names.queue
            );
            Err(error(ErrorKind::Conflict, operation, text).advise("ask for that too, or unbind it first"))
        }
        None => Ok(()),
    }
}

/// Whether a group gets nothing unless its owner sees to it.
pub(super) fn gets_nothing(config: &RabbitConfig) -> bool {
    config.exchange == Exchange::Direct && config.bindings.is_empty()
}

/// Whether this client binds queues.
fn are_made(config: &RabbitConfig) -> bool {
    config.exchange != Exchange::Default && config.topology == Topology::Declare
}

/// By what a group is bound; `None` where nobody can say.
async fn bound(
    management: Option<&Management>,
    operation: &'static str,
    config: &RabbitConfig,
    names: &Names,
) -> Option<Vec<Bound>> {
    let patience = if config.management.is_empty() { GLANCE } else { PATIENCE };
    let asked = management?.bindings_of(operation, names.stream.as_str(), &names.queue);
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok(bound)) => Some(bound),
        Ok(Err(error)) => {
            tracing::debug!(%error, queue = %names.queue, "by what the queue is bound is not known");
            None
        }
        Err(_) => {
            tracing::debug!(queue = %names.queue, "by what the queue is bound was not said in {patience:?}");
            None
        }
    }
}

fn is_same(bound: &Bound, binding: &Binding) -> bool {
    let is_shown = |(name, value): (&String, &BindingValue)| match (value, bound.arguments.get(name)) {
        (BindingValue::Text(text), Some(Value::String(shown))) => text == shown,
        (BindingValue::Integer(integer), Some(shown)) => shown.as_i64() == Some(*integer),
        (BindingValue::Boolean(boolean), Some(shown)) => shown.as_bool() == Some(*boolean),
        // Erlang's word for nothing.
        (BindingValue::Any, Some(shown)) => shown.is_null() || shown == "undefined",
        _ => false,
    };
    bound.routing_key == binding.routing_key
        && bound.arguments.len() == binding.arguments.len()
        && binding.arguments.iter().all(is_shown)
}

/// What a group gets that says nothing about it.
fn everything(exchange: &Exchange) -> Binding {
    match exchange {
        // A weight.
        Exchange::ConsistentHash => Binding::key("1"),
        _ => Binding::key("#"),
    }
}

async fn bind_by(errand: &Errand<'_>, names: &Names, binding: &Binding) -> Result<()> {
    let mut arguments = FieldTable::default();
    for (name, value) in &binding.arguments {
        let value = match value {
            BindingValue::Text(value) => text(value),
            BindingValue::Integer(value) => AMQPValue::LongLongInt(*value),
            BindingValue::Boolean(value) => AMQPValue::Boolean(*value),
            BindingValue::Any => AMQPValue::Void,
        };
        insert(&mut arguments, name, value);
    }
    let bound = errand.channel().queue_bind(
        names.queue.as_str().into(),
        names.stream.as_str().into(),
        binding.routing_key.as_str().into(),
        QueueBindOptions::default(),
        arguments,
    );
    errand.call(bound).await
}
