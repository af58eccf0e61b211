//! Records that carry a message: deliveries and dead letters.

use serde::ser::{Serialize, SerializeMap, Serializer};
use zephcast::driver::{DeadLetter, Stored};
use zephcast::{Delivery, MemberName, Message, MessageId, Position};

use crate::output::bytes::{entry, headers};

/// `{"event":"delivery",...}`.
pub(crate) struct DeliveryRecord<'a> {
    token: u64,
    position: Position,
    message: &'a Message,
    attempt: u32,
    redelivered: bool,
    published_ms: Option<u64>,
    member: &'a MemberName,
}

impl<'a> DeliveryRecord<'a> {
    /// Of a delivery.
    pub(crate) fn new(token: u64, delivery: &'a Delivery) -> Self {
        Self {
            token,
            position: delivery.position(),
            message: delivery,
            attempt: delivery.attempt(),
            redelivered: delivery.redelivered(),
            published_ms: delivery.published_ms(),
            member: delivery.member(),
        }
    }

    /// Of a message that is only looked at, by `member`: as if it were handed out for the first time, since nobody
    /// counts.
    pub(crate) fn browsed(token: u64, stored: &'a Stored, member: &'a MemberName) -> Self {
        let Stored { position, message, published_ms } = stored;
        Self {
            token,
            position: *position,
            message,
            attempt: 1,
            redelivered: false,
            published_ms: *published_ms,
            member,
        }
    }
}

impl Serialize for DeliveryRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event", "delivery")?;
        map.serialize_entry("token", &self.token)?;
        map.serialize_entry("position", &self.position.to_string())?;
        entry(&mut map, "id", id(self.message))?;
        content(&mut map, self.message)?;
        map.serialize_entry("attempt", &self.attempt)?;
        map.serialize_entry("redelivered", &self.redelivered)?;
        map.serialize_entry("published_ms", &self.published_ms)?;
        map.serialize_entry("member", self.member.as_str())?;
        map.end()
    }
}

/// `{"event":"dead_letter",...}`.
pub(crate) struct DeadLetterRecord<'a>(pub(crate) &'a DeadLetter);

impl Serialize for DeadLetterRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let letter = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("event", "dead_letter")?;
        map.serialize_entry("position", &letter.position.to_string())?;
        entry(&mut map, "id", id(&letter.message))?;
        map.serialize_entry("reason", &letter.reason)?;
        map.serialize_entry("attempts", &letter.attempts)?;
        map.serialize_entry("first_failed_ms", &letter.first_failed_ms)?;
        map.serialize_entry("last_failed_ms", &letter.last_failed_ms)?;
        map.serialize_entry("origin", &letter.origin)?;
        content(&mut map, &letter.message)?;
        map.end()
    }
}

fn id(message: &Message) -> Option<&[u8]> {
    message.id().map(MessageId::as_bytes).map(|id| &**id)
}

fn content<M: SerializeMap>(map: &mut M, message: &Message) -> Result<(), M::Error> {
    entry(map, "key", message.key().map(|key| &**key))?;
    headers(map, message.headers())?;
    entry(map, "payload", message.has_payload().then(|| &**message.payload()))
}

#[cfg(test)]
mod tests {
    use zephcast::{Position, PositionStyle, Token, UnitId};

    use super::*;

    #[test]
    fn what_is_only_looked_at_has_the_keys_of_a_delivery() {
        let stored = Stored {
            position: Position::new(PositionStyle::EntryId, UnitId(0), Token(7, 1)),
            message: Message::new("x").with_header("h", "v"),
            published_ms: Some(7),
        };
        assert_eq!(
            serde_json::to_string(&DeliveryRecord::browsed(3, &stored, &MemberName::new("m").unwrap())).unwrap(),
            concat!(
                r#"{"event":"delivery","token":3,"position":"7-1","id":null,"key":null,"headers":{"h":"v"},"payload":"x","#,
                r#""attempt":1,"redelivered":false,"published_ms":7,"member":"m"}"#
            )
        );
    }

    #[test]
    fn a_dead_letter_has_its_keys_in_order() {
        let letter = DeadLetter {
            position: Position::new(PositionStyle::EntryId, UnitId(0), Token(7, 1)),
            message: Message::new("x").with_key("k").with_header("h", "v").with_id(MessageId::new("i")),
            reason: "exit status 3".into(),
            attempts: 5,
            first_failed_ms: Some(1),
            last_failed_ms: None,
            origin: "orders@7-0".into(),
        };
        assert_eq!(
            serde_json::to_string(&DeadLetterRecord(&letter)).unwrap(),
            concat!(
                r#"{"event":"dead_letter","position":"7-1","id":"i","reason":"exit status 3","attempts":5,"#,
                r#""first_failed_ms":1,"last_failed_ms":null,"origin":"orders@7-0","key":"k","headers":{"h":"v"},"payload":"x"}"#
            )
        );
    }
}
