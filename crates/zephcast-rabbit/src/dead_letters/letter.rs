//! A dead letter, read: by notes of a member's, or else by what the broker wrote when it gave the message up itself.

use lapin::message::Delivery;
use zephcast_core::driver::DeadLetter;
use zephcast_core::{Message, Position, PositionStyle, Result, Token};

use super::place;
use crate::hints::fingerprint;
use crate::member::UNIT;
use crate::names::Names;
use crate::properties::{self, Death, Decoded, Notes, Original, Outgoing};

/// A dead letter.
pub(super) struct Letter {
    /// The last [place] of its kind.
    pub(super) kind: Token,
    message: Message,
    /// Completed by what the broker says.
    notes: Notes,
    original: Option<Box<Original>>,
}

impl Letter {
    pub(super) fn open(names: &Names, delivery: Delivery) -> Self {
        let mut properties = delivery.properties;
        let death = properties::take_death(&mut properties, &names.queue);
        // Since it was dead-lettered it has the name of the dead letters' queue for its routing key.
        let key = death.as_ref().and_then(|death| death.routing_key.clone()).unwrap_or(delivery.routing_key);
        let Decoded { message, mut notes, original } =
            properties::decode(delivery.data.into(), key.as_str(), properties, &names.prefix());
        if let Some(death) = death {
            complete(&mut notes, names, death);
        }
        let kind = place::kind(notes.last_failed_ms.unwrap_or(0), print(&message, &notes));
        Self { kind, message, notes, original }
    }

    /// As it is shown where so many of its kind lie behind it.
    pub(super) fn shown_before(self, behind: u64) -> DeadLetter {
        let Self { kind, message, notes, .. } = self;
        DeadLetter {
            position: Position::new(PositionStyle::EntryId, UNIT, place::before(kind, behind)),
            message,
            reason: notes.reason.unwrap_or_else(|| "given up by the broker".into()),
            attempts: notes.attempts,
            first_failed_ms: notes.first_failed_ms,
            last_failed_ms: notes.last_failed_ms,
            origin: notes.origin_text.unwrap_or_default(),
        }
    }

    /// How many bytes of memory it takes, about.
    pub(super) fn size(&self) -> usize {
        const REST: usize = 512;
        self.message.byte_len() + REST
    }

    /// A copy for its group's queue alone, as it came there first.
    pub(super) fn copy(&self, names: &Names, most: usize) -> Result<Outgoing> {
        let notes =
            Notes { origin: self.notes.origin, published_ms: self.notes.published_ms, ..Notes::default() }.copied();
        let mut copy = properties::encode_copy(&self.message, self.original.as_deref(), &notes, most)?;
        copy.routing_key = names.queue.as_str().into();
        Ok(copy)
    }
}

/// What tells a letter from others that failed at the same moment. A header `x-...` does not: it may be one in which brokers
/// count, and the place of a letter is the same at each look.
fn print(message: &Message, notes: &Notes) -> u64 {
    let id = message.id().map_or(&[][..], |id| id.as_bytes());
    let key = message.key().map_or(&[][..], |key| &key[..]);
    let [reason, origin] =
        [&notes.reason, &notes.origin_text].map(|text| text.as_deref().unwrap_or_default().as_bytes());
    let headers = message.headers().iter().filter(|(name, _)| !name.starts_with(b"x-"));
    let headers = headers.flat_map(|(name, value)| [&name[..], value.map_or(&[][..], |value| &value[..])]);
    let parts = [id, key, message.payload(), reason, origin].into_iter().chain(headers);
    // Of each alone, so that where one ends and the next begins makes a difference.
    let prints: Vec<[u8; 8]> = parts.map(|part| fingerprint([part]).to_be_bytes()).collect();
    fingerprint(prints.iter().map(|print| &print[..]))
}

/// Adds what no member noted down, since none had a say in it.
fn complete(notes: &mut Notes, names: &Names, death: Death) {
    let Death { reason, exchange, time_ms, .. } = death;
    notes.reason.get_or_insert_with(|| in_words(reason.as_deref()));
    notes.last_failed_ms = notes.last_failed_ms.or(time_ms);
    // By the default exchange it came from nowhere else.
    let from =
        exchange.filter(|exchange| !exchange.as_str().is_empty()).unwrap_or_else(|| names.stream.as_str().into());
    notes.origin_text.get_or_insert_with(|| format!("{from}@{}", names.queue));
}

/// The broker's word for it, and what that means.
fn in_words(reason: Option<&str>) -> String {
    let meaning = match reason {
        None => return "given up by the broker".into(),
        Some("expired") => " (no member took it in time)",
        Some("maxlen") => " (the queue was full)",
        Some("rejected") => " (by a consumer that is none of zephcast's)",
        Some("delivery_limit") => " (it was delivered as often as the queue allows)",
        Some(_) => "",
    };
    format!("the broker gave it up: {}{meaning}", reason.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::types::{AMQPValue, FieldTable};
    use zephcast_core::{GroupName, StreamName};

    use super::*;
    use crate::RabbitConfig;

    const DEAD: &str = "orders.billing.dead";

    fn names() -> Names {
        let (stream, group) = (StreamName::new("orders").unwrap(), GroupName::new("billing").unwrap());
        Names::new(&RabbitConfig::new("h", 1), &stream, &group).unwrap()
    }

    fn words(words: &str) -> AMQPValue {
        AMQPValue::LongString(words.into())
    }

    fn table<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in fields {
            table.insert(name.into(), value);
        }
        table
    }

    fn death(queue: &str, reason: &str, exchange: &str, key: &str) -> FieldTable {
        table([
            ("count", AMQPValue::LongLongInt(1)),
            ("exchange", words(exchange)),
            ("queue", words(queue)),
            ("reason", words(reason)),
            ("routing-keys", AMQPValue::FieldArray(vec![words(key), words("a copy's")].into())),
            ("time", AMQPValue::Timestamp(1_700_000_000)),
        ])
    }

    fn deaths<const N: usize>(deaths: [FieldTable; N]) -> (&'static str, AMQPValue) {
        ("x-death", AMQPValue::FieldArray(deaths.into_iter().map(AMQPValue::FieldTable).collect::<Vec<_>>().into()))
    }

    fn letter<const N: usize>(headers: [(&str, AMQPValue); N]) -> Letter {
        let mut delivery = Delivery::mock(1, "".into(), DEAD.into(), false, b"body".to_vec());
        delivery.properties = BasicProperties::default().with_headers(table(headers));
        Letter::open(&names(), delivery)
    }

    fn key(letter: &DeadLetter) -> &[u8] {
        letter.message.key().expect("a key")
    }

    #[test]
    fn what_the_broker_gave_up_says_why_and_from_where() {
        for (reason, shown) in [
            ("expired", "the broker gave it up: expired (no member took it in time)"),
            ("maxlen", "the broker gave it up: maxlen (the queue was full)"),
            ("rejected", "the broker gave it up: rejected (by a consumer that is none of zephcast's)"),
            ("delivery_limit", "the broker gave it up: delivery_limit (it was delivered as often as the queue allows)"),
            ("newer", "the broker gave it up: newer"),
        ] {
            let letter: DeadLetter =
                letter([deaths([death("orders.billing", reason, "shop", "orders.eu")])]).shown_before(0);
            assert_eq!((key(&letter), letter.reason.as_str()), (&b"orders.eu"[..], shown));
            assert_eq!((letter.origin.as_str(), letter.attempts), ("shop@orders.billing", 0));
            assert_eq!((letter.first_failed_ms, letter.last_failed_ms), (None, Some(1_700_000_000_000)));
            assert_eq!(letter.message.headers().len(), 0, "what the group's own queue did is not the message's");
        }
    }

    #[test]
    fn what_was_published_to_the_queue_itself_has_its_name_for_a_key() {
        let letter: DeadLetter =
            letter([deaths([death("orders.billing", "expired", "", "orders.billing")])]).shown_before(0);
        assert_eq!((key(&letter), letter.origin.as_str()), (&b"orders.billing"[..], "orders@orders.billing"));
    }

    #[test]
    fn what_waited_for_an_attempt_is_told_by_the_queue_that_gave_it_up() {
        let waited = death("orders.billing.retry-1s", "expired", "", "orders.billing.retry-1s");
        let before = death("elsewhere", "maxlen", "x", "other");
        let letter: DeadLetter = letter([
            deaths([waited.clone(), death("orders.billing", "rejected", "", "orders.billing"), waited, before]),
            ("x-first-death-queue", words("elsewhere")),
            ("x-last-death-queue", words("orders.billing")),
            ("x-last-death-reason", words("rejected")),
            ("zephcast-attempts", AMQPValue::LongLongInt(2)),
            ("zephcast-first-failed-ms", AMQPValue::LongLongInt(5)),
            ("zephcast-key", words("orders.eu")),
        ])
        .shown_before(0);
        assert_eq!((key(&letter), letter.attempts), (&b"orders.eu"[..], 2));
        assert!(letter.reason.contains("rejected"), "{}", letter.reason);
        assert_eq!((letter.first_failed_ms, letter.last_failed_ms), (Some(5), Some(1_700_000_000_000)));
        let shown: Vec<_> = letter.message.headers().iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(shown, [&b"x-death"[..], b"x-first-death-queue"]);
        let deaths = letter.message.headers().first_str("x-death").expect("is text");
        assert!(deaths.contains("elsewhere") && !deaths.contains("orders.billing"), "{deaths}");
    }

    #[test]
    fn a_copy_for_the_group_is_as_it_came_first() {
        let mut death = death("orders.billing", "expired", "shop", "orders.eu");
        death.insert("original-expiration".into(), words("1000"));
        let copy = letter([deaths([death]), ("own", words("1"))]).copy(&names(), 131_072).unwrap();
        assert_eq!(copy.routing_key.as_str(), "orders.billing");
        let Decoded { message, notes, .. } =
            properties::decode(copy.payload, copy.routing_key.as_str(), copy.properties, &names().prefix());
        assert_eq!(message.key().map(|key| &key[..]), Some(&b"orders.eu"[..]));
        let headers: Vec<_> =
            message.headers().iter().map(|(name, value)| (&name[..], value.map(|v| &v[..]))).collect();
        assert_eq!(headers, [(&b"amqp.expiration"[..], Some(&b"1000"[..])), (b"own", Some(b"1"))]);
        assert!(notes.copied_ms.is_some());
        assert_eq!(Notes { copied_ms: None, ..notes }, Notes::default());
    }

    #[test]
    fn what_a_member_gave_up_says_what_the_member_noted() {
        let letter: DeadLetter = letter([
            ("zephcast-attempts", AMQPValue::LongLongInt(5)),
            ("zephcast-key", AMQPValue::Void),
            ("zephcast-last-failed-ms", AMQPValue::LongLongInt(7)),
            ("zephcast-origin-text", words("orders@3")),
            ("zephcast-reason", words("it is malformed")),
        ])
        .shown_before(0);
        assert_eq!((letter.message.key(), letter.reason.as_str()), (None, "it is malformed"));
        assert_eq!((letter.origin.as_str(), letter.attempts, letter.last_failed_ms), ("orders@3", 5, Some(7)));
    }

    #[test]
    fn of_what_another_program_put_there_nobody_says_why() {
        let letter: DeadLetter = letter([deaths([death("elsewhere", "expired", "x", "k")])]).shown_before(0);
        assert_eq!((key(&letter), letter.reason.as_str()), (DEAD.as_bytes(), "given up by the broker"));
        assert_eq!((letter.origin.as_str(), letter.last_failed_ms), ("", None));
    }

    #[test]
    fn what_differs_in_anything_that_stays_is_of_another_kind() {
        let own = |name: &'static str, value: &str| letter([(name, words(value))]).kind;
        let plain = letter([]).kind;
        assert_eq!(plain, letter([("x-delivery-count", AMQPValue::LongLongInt(3)), ("x-newer", words("7"))]).kind);
        let all = [
            plain,
            own("a", "bc"),
            own("ab", "c"),
            own("zephcast-key", "k"),
            own("zephcast-reason", "malformed"),
            own("zephcast-origin-text", "orders@3"),
            letter([("zephcast-last-failed-ms", AMQPValue::LongLongInt(7))]).kind,
        ];
        for (n, kind) in all.iter().enumerate() {
            assert!(!all[..n].contains(kind), "number {n} of {all:?}");
        }
    }
}
