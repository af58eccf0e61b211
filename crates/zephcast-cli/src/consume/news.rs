//! What happens to members, as records and in words.

use zephcast::{Event, MemberName, UnitId};

use crate::exit::describe;
use crate::output::records::{Record, Units};
use crate::output::{milliseconds, seconds};

/// The record of an event; `None` for what has no record and is told to people only.
pub(crate) fn record(member: &MemberName, event: &Event, several: bool) -> Option<Record> {
    let units = |units: &[UnitId]| Units {
        units: units.iter().map(ToString::to_string).collect(),
        member: several.then(|| member.to_string()),
    };
    Some(match event {
        Event::Assigned(assigned) => Record::Assigned(units(assigned)),
        Event::Revoked(revoked) => Record::Revoked(units(revoked)),
        Event::Lost(lost) => Record::Lost(units(lost)),
        Event::Disconnected(error) => Record::Disconnected { reason: describe(error) },
        Event::Reconnected(after) => Record::Reconnected { seconds: seconds(*after) },
        Event::Stuck { oldest } => Record::Stuck { member: member.to_string(), oldest_ms: milliseconds(*oldest) },
        Event::Missing { unit, count } => Record::Missing { unit: unit.to_string(), count: *count },
        Event::Recreated => Record::Recreated { member: member.to_string() },
        Event::OutOfRange { from, to } => Record::OutOfRange { from: from.to_string(), to: to.to_string() },
        Event::NodeDown(node) => Record::NodeDown { node: node.clone() },
        Event::NodeUp(node) => Record::NodeUp { node: node.clone() },
        Event::Throttled { node, delay } => Record::Throttled { node: node.clone(), delay_ms: milliseconds(*delay) },
        Event::Blocked(reason) => Record::Blocked { reason: reason.clone() },
        Event::Unblocked(after) => Record::Unblocked { seconds: seconds(*after) },
        _ => return None,
    })
}

/// The event in words.
pub(crate) fn text(member: &MemberName, event: &Event) -> String {
    let list = |units: &[UnitId]| units.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match event {
        Event::Assigned(units) => format!("{member}: assigned {}", list(units)),
        Event::Revoked(units) => format!("{member}: gave up {}", list(units)),
        Event::Lost(units) => format!("{member}: lost {}; what was in flight goes to another member", list(units)),
        Event::Disconnected(error) => format!("{member}: disconnected, trying again: {}", describe(error)),
        Event::Reconnected(after) => format!("{member}: reconnected after {} s", seconds(*after)),
        Event::LeaseLost(position) => format!("{member}: {position} was settled too late; another member gets it"),
        Event::Stuck { oldest } => format!("{member}: a delivery has been unsettled for {} s", seconds(*oldest)),
        Event::GivenBack { count, limit } => format!(
            "{member}: {count} given back, since the broker lets nobody hold a delivery for longer than {} s; they come again",
            seconds(*limit)
        ),
        Event::Missing { unit, count } => {
            format!("{member}: {count} messages of unit {unit} are gone from the broker before they were settled")
        }
        Event::Recreated => {
            format!("{member}: the group was gone from the broker and begins again; messages may be lost or come again")
        }
        Event::OutOfRange { from, to } => {
            format!("{member}: the group was at {from}, which is not in the stream; it goes on at {to}")
        }
        Event::NodeDown(node) => format!("{member}: {node} is away"),
        Event::NodeUp(node) => format!("{member}: {node} is back"),
        Event::Throttled { node, delay } => {
            format!("{member}: {node} makes it wait for up to {} s, since it is over its quota", seconds(*delay))
        }
        Event::Blocked(reason) => {
            format!("{member}: the broker takes no messages for now: {}", crate::output::printable(reason))
        }
        Event::Unblocked(after) => format!("{member}: the broker takes messages again after {} s", seconds(*after)),
        Event::DeadLettered { position, reason } => {
            format!("{member}: {position} went to the dead letters: {}", crate::output::printable(reason))
        }
        Event::SettleFailed(error) => format!("{member}: settling failed, trying again: {}", describe(error)),
        other => format!("{member}: {other:?}"),
    }
}
