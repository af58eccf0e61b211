//! Dead letters that are the queue's own.

use zephcast_core::{ErrorKind, Result};

use crate::brokers::Brokers;
use crate::config::{DeadLetters, Topology};
use crate::error::error;
use crate::names::Names;
use crate::topology;

/// Whether the broker takes what is given up to the dead letters.
pub(crate) fn is_on(brokers: &Brokers) -> bool {
    brokers.control.config().dead_letters == DeadLetters::Native
}

/// Makes sure that what is rejected has somewhere to go: the broker drops it otherwise.
///
/// # Errors
/// `Conflict` when the queue has no dead letter exchange; `Unsupported` when nobody knows.
pub(crate) async fn check(brokers: &Brokers, operation: &'static str, names: &Names) -> Result<()> {
    if !is_on(brokers) {
        return Ok(());
    }
    let config = brokers.control.config();
    // As it is created here it has one.
    if config.topology == Topology::Declare
        && topology::is_alike(&brokers.control, operation, config, names).await.is_ok()
    {
        return Ok(());
    }
    let management = brokers.management(operation, "whether a queue has a dead letter exchange")?;
    let Some(queue) = management.queue(operation, &names.queue).await? else {
        let text = format!("the queue {:?} is not there, so that nobody knows its dead letter exchange", names.queue);
        return Err(error(ErrorKind::NotFound, operation, text));
    };
    if queue.arguments.contains_key("x-dead-letter-exchange") || queue.policy.contains_key("dead-letter-exchange") {
        return Ok(());
    }
    let text = format!(
        "the queue {:?} has no dead letter exchange, and the broker would drop what is given up: have its owner set \
         `dead-letter-exchange` by a policy, or leave `dead-letters=native` away",
        names.queue
    );
    Err(error(ErrorKind::Conflict, operation, text))
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
