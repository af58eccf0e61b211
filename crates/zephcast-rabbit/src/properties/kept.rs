//! What the broker acts upon wherever a message is published. A copy into a queue of the group's own carries it under
//! another name, and it is shown again under its own.

use lapin::types::AMQPValue;

use super::standard::{DELIVERY_MODE, EXPIRATION, PREFIX, REPLY_TO, USER_ID};
use super::text;

/// Headers as they are shown, and their names in a copy.
const KEPT: [(&str, &str); 13] = [
    // The copy would expire.
    (EXPIRATION, "zephcast-expiration"),
    // Has to be the name of who publishes; otherwise the broker closes the channel.
    (USER_ID, "zephcast-user-id"),
    // Copies are durable.
    (DELIVERY_MODE, "zephcast-delivery-mode"),
    // Only where it is `DIRECT_REPLY`.
    (REPLY_TO, "zephcast-reply-to"),
    // Further queues to route to.
    ("CC", "zephcast-cc"),
    ("BCC", "zephcast-bcc"),
    // An older broker finds cycles by it, and drops the message; a newer one writes it anew.
    ("x-death", "zephcast-x-death"),
    ("x-first-death-exchange", "zephcast-x-first-death-exchange"),
    ("x-first-death-queue", "zephcast-x-first-death-queue"),
    ("x-first-death-reason", "zephcast-x-first-death-reason"),
    ("x-last-death-exchange", "zephcast-x-last-death-exchange"),
    ("x-last-death-queue", "zephcast-x-last-death-queue"),
    ("x-last-death-reason", "zephcast-x-last-death-reason"),
];

/// As `reply-to` it wants a consumer of answers on the channel that publishes; without one the broker closes the channel.
/// What is delivered has another value, which can be published like any.
pub(super) const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to";

/// The name that a copy gives to what is shown as this header.
pub(super) fn name_in_copy(shown: &str) -> Option<&'static str> {
    KEPT.iter().find(|(name, _)| *name == shown).map(|(_, kept)| *kept)
}

/// The same for a property of this value.
pub(super) fn property_in_copy(shown: &str, value: &[u8]) -> Option<&'static str> {
    name_in_copy(shown).filter(|_| shown != REPLY_TO || value == DIRECT_REPLY.as_bytes())
}

/// The header as which is shown what has this name in a copy. None for a value that no copy has there.
pub(super) fn shown_name(kept: &str, value: &AMQPValue) -> Option<&'static str> {
    let (shown, _) = KEPT.iter().find(|(_, name)| *name == kept)?;
    let fits = |value| property_in_copy(shown, value).is_some();
    (!shown.starts_with(PREFIX) || text::bytes(value).is_some_and(fits)).then_some(shown)
}
