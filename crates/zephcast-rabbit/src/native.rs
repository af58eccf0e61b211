//! Dead letters that are the queue's own.

use lapin::types::ShortString;
use zephcast_core::{Error, ErrorKind, Result};

use crate::brokers::Brokers;
use crate::config::{DeadLetters, Topology};
use crate::error::error;
use crate::names::Names;
use crate::topology;

/// Where a queue sends what it gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetterExchange {
    pub(crate) name: ShortString,
    /// `None` when each keeps its own.
    pub(crate) routing_key: Option<ShortString>,
}

/// Whether the broker takes what is given up to the dead letters.
pub(crate) fn is_on(brokers: &Brokers) -> bool {
    brokers.control.config().dead_letters == DeadLetters::Native
}

/// Finds out where what is rejected goes, since the broker drops it where that is nowhere. Asks the management API, unless
/// the queue is as this client would create it.
///
/// # Errors
/// `Conflict` when it could be dropped; `Unsupported` when nobody knows.
pub(crate) async fn find(brokers: &Brokers, operation: &'static str, names: &Names) -> Result<DeadLetterExchange> {
    let config = brokers.control.config();
    if config.topology == Topology::Declare {
        match topology::is_alike(&brokers.control, operation, config, names).await {
            Ok(()) => {
                let (name, routing_key) = (ShortString::default(), Some(names.dead.as_str().into()));
                return Ok(DeadLetterExchange { name, routing_key });
            }
            // It is somebody else's.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    let management = brokers.management(operation, "whether a queue has a dead letter exchange")?;
    let Some(queue) = management.queue(operation, &names.queue).await? else {
        let text = format!("the queue {:?} is not there, so that nobody knows its dead letter exchange", names.queue);
        return Err(error(ErrorKind::NotFound, operation, text));
    };
    let refuse = |why: &str| conflict(operation, names, why);
    let Some(name) = queue.told("dead-letter-exchange") else {
        return Err(refuse("has no dead letter exchange"));
    };
    let routing_key = queue.told("dead-letter-routing-key");
    if name.is_empty() {
        if let Some(dead) = &routing_key
            && topology::queue(&brokers.control, operation, dead).await?.is_none()
        {
            return Err(refuse(&format!("sends what is given up to the queue {dead:?}, which does not exist")));
        }
    } else {
        let exchanges = management.exchanges(operation).await?;
        let Some(exchange) = exchanges.iter().find(|exchange| exchange.name == name) else {
            return Err(refuse(&format!("has the dead letter exchange {name:?}, which does not exist")));
        };
        if management.bindings(operation, name).await?.is_empty() {
            return Err(refuse(&format!("has the dead letter exchange {name:?}, to which no queue is bound")));
        }
        if exchange.kind == "fanout" {
            return Ok(DeadLetterExchange { name: name.into(), routing_key: routing_key.map(ShortString::from) });
        }
    }
    // A message that was tried again has the queue's name for its key.
    let Some(routing_key) = routing_key else {
        return Err(refuse(
            "has a dead letter exchange and no `dead-letter-routing-key`, by which each message finds its way",
        ));
    };
    Ok(DeadLetterExchange { name: name.into(), routing_key: Some(routing_key.into()) })
}

fn conflict(operation: &'static str, names: &Names, why: &str) -> Error {
    let text = format!(
        "the queue {:?} {why}, so that the broker could drop what is given up: have its owner mend that, as by a policy, or \
         leave `dead-letters=native` away",
        names.queue
    );
    error(ErrorKind::Conflict, operation, text)
}

/// Refuses what needs dead letters of the group's own.
///
/// # Errors
/// `Unsupported` where they are the queue's.
pub(crate) fn refuse(brokers: &Brokers, operation: &'static str) -> Result<()> {
    if !is_on(brokers) {
        return Ok(());
    }
    let text = "with `dead-letters=native` dead letters lie where the queue's own exchange sends them: look there";
    Err(error(ErrorKind::Unsupported, operation, text))
}
