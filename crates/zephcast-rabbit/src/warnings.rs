//! What is wrong with the broker, as a check and a look at a group tell it.

use std::error::Error as _;

use zephcast_core::{Error, StreamName, Warning};

use crate::brokers::Brokers;
use crate::management::{AlarmKind, Management, QueueFigures};

/// There is nothing to ask.
pub(crate) fn no_management_url() -> Warning {
    no_management("the management API has no URL".into(), "name it with `management=https://HOST:15671`")
}

/// The management API did not answer, or not well.
pub(crate) fn management_failed(error: &Error) -> Warning {
    const REFUSED: &str = "give the user the tag `monitoring`, or name another one with \
         `management=http://USER:PASSWORD%40HOST:15672`";
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    no_management(format!("{}{cause}", error.message()), error.advice().unwrap_or(REFUSED))
}

fn no_management(message: String, advice: &str) -> Warning {
    let advice = format!("{advice}; without it streams cannot be listed, and what other programs hold is not known");
    Warning::new("no_management", message, advice)
}

/// What the server told whoever publishes by this client.
pub(crate) fn blocked(brokers: &Brokers) -> Option<Warning> {
    let reason = brokers.publishing.blocked()?;
    let message = format!("the server takes no messages: {reason}");
    Some(Warning::new("blocked", message, "free memory or disk of its nodes"))
}

/// The stream of a group is missing.
pub(crate) fn no_stream(stream: &StreamName) -> Warning {
    let message = format!("the stream {stream:?} does not exist: nothing comes to the group");
    Warning::new("no_stream", message, "create it; the group is bound to it by itself while it has members")
}

/// Which nodes take no messages, as far as the user may know.
pub(crate) async fn alarms(operation: &'static str, management: &Management) -> Vec<Warning> {
    let alarms = match management.alarms(operation).await {
        Ok(alarms) => alarms,
        Err(error) => {
            tracing::debug!(%error, "alarms are not known");
            return Vec::new();
        }
    };
    let warning = |what: &str, node: &str| {
        let message = format!("the node {node} has too little {what}: it takes no messages");
        Warning::new("alarm", message, format!("free {what} of the node, or raise its limit"))
    };
    let told = alarms.iter().map(|alarm| match alarm.kind {
        AlarmKind::Memory => warning("memory", &alarm.node),
        AlarmKind::Disk => warning("disk", &alarm.node),
        AlarmKind::Other => {
            let message = format!("the node {} has an alarm: it takes no messages", alarm.node);
            Warning::new("alarm", message, "see `rabbitmq-diagnostics alarms`")
        }
    });
    told.collect()
}

/// Whether the server holds back those who publish to a queue. Only a classic queue says so.
pub(crate) fn flow(queue: &QueueFigures) -> Option<Warning> {
    let is_held_back = queue.state.as_deref() == Some("flow");
    is_held_back.then(|| {
        let message = format!("the queue {} cannot keep up, and who publishes to it is held back", queue.name);
        let advice = "publish more slowly, give its node a faster disk, or spread the load over several queues";
        Warning::new("flow", message, advice)
    })
}

#[cfg(test)]
mod tests {
    use zephcast_core::ErrorKind;

    use super::*;
    use crate::error::error;

    #[test]
    fn a_management_that_failed_is_told_with_its_cause_and_what_to_do() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let failed = error(ErrorKind::Unavailable, "test", "h:1 cannot be reached").advise("look there");
        let warning = management_failed(&failed.caused_by(refused));
        assert_eq!((warning.kind, &*warning.message), ("no_management", "h:1 cannot be reached: connection refused"));
        assert!(warning.advice.starts_with("look there; without it "), "{warning:?}");
        let denied = management_failed(&error(ErrorKind::PermissionDenied, "test", "no"));
        for warning in [denied, no_management_url()] {
            assert!(warning.advice.contains("`management=http"), "{warning:?}");
        }
    }

    #[test]
    fn a_queue_in_flow_is_told() {
        let queue = |state: &str| -> QueueFigures {
            serde_json::from_value(serde_json::json!({ "name": "orders.billing", "state": state })).unwrap()
        };
        let warning = flow(&queue("flow")).unwrap();
        assert_eq!(warning.kind, "flow");
        assert!(warning.message.contains("orders.billing"), "{warning:?}");
        assert_eq!(flow(&queue("running")), None);
    }
}
