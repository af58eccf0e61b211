//! What the tests of every direction need: generated messages of ours and of others, and the wire between them.

mod copying;
mod publishing;
mod reading;
mod server;

use lapin::protocol::basic::{gen_properties, parse_properties};
use lapin::types::{ByteArray, DecimalValue, FieldArray, FieldTable, LongString};
use proptest::prelude::*;
use proptest::{collection, option};
use zephcast_core::{ErrorKind, MessageId, Token};

use super::*;

/// More than enough for what is generated.
const MAX: usize = 131_072;
const OWN: &str = "orders.billing.";

/// What the other side of a connection makes of the properties.
fn over_the_wire(properties: &BasicProperties) -> BasicProperties {
    let wire = gen_properties(properties)(Vec::new().into()).unwrap().write;
    // The frame has 20 bytes around them.
    assert_eq!(size::header_frame(properties), wire.len() + 20);
    let (rest, read) = parse_properties(&wire[..]).unwrap();
    assert!(rest.is_empty());
    read
}

/// What is delivered of a first publish.
fn delivered(outgoing: &Outgoing) -> Decoded {
    let properties = over_the_wire(&outgoing.properties);
    decode(outgoing.payload.clone(), outgoing.routing_key.as_str(), properties, OWN)
}

/// What is delivered of a copy.
fn delivered_copy(outgoing: &Outgoing) -> Decoded {
    assert_eq!(outgoing.routing_key, ShortString::default());
    decode(outgoing.payload.clone(), "orders.billing.retry", over_the_wire(&outgoing.properties), OWN)
}

fn copied(decoded: &Decoded, notes: &Notes) -> Outgoing {
    encode_copy(&decoded.message, decoded.original.as_deref(), notes, MAX).unwrap()
}

fn foreign(properties: &BasicProperties) -> Decoded {
    decode(Bytes::from("body"), "key", over_the_wire(properties), OWN)
}

fn table<const N: usize>(headers: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(name.into(), value);
    }
    table
}

fn with_headers<const N: usize>(headers: [(&str, AMQPValue); N]) -> BasicProperties {
    BasicProperties::default().with_headers(table(headers))
}

fn words(words: &str) -> AMQPValue {
    AMQPValue::LongString(words.into())
}

fn array<const N: usize>(values: [AMQPValue; N]) -> AMQPValue {
    AMQPValue::FieldArray(Vec::from(values).into())
}

/// As the broker writes it into `x-death`.
fn death(queue: &str) -> AMQPValue {
    AMQPValue::FieldTable(table([
        ("count", AMQPValue::LongLongInt(1)),
        ("queue", words(queue)),
        ("reason", words("expired")),
        ("routing-keys", array([words("key")])),
    ]))
}

fn headers(decoded: &Decoded) -> Vec<(String, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    decoded.message.headers().iter().map(|(name, value)| (text(name), value.map(text))).collect()
}

/// Every header is text.
fn texts(decoded: &Decoded) -> Vec<(String, String)> {
    headers(decoded).into_iter().map(|(name, value)| (name, value.unwrap())).collect()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Values of every type that can be on the wire.
fn values() -> impl Strategy<Value = AMQPValue> {
    let scalar = prop_oneof![
        3 => collection::vec(any::<u8>(), 0..9).prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        1 => collection::vec(any::<u8>(), 0..9).prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        1 => any::<bool>().prop_map(AMQPValue::Boolean),
        1 => any::<i8>().prop_map(AMQPValue::ShortShortInt),
        1 => any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        1 => any::<i16>().prop_map(AMQPValue::ShortInt),
        1 => any::<u16>().prop_map(AMQPValue::ShortUInt),
        1 => any::<i32>().prop_map(AMQPValue::LongInt),
        1 => any::<u32>().prop_map(AMQPValue::LongUInt),
        1 => any::<i64>().prop_map(AMQPValue::LongLongInt),
        1 => any::<f32>().prop_map(AMQPValue::Float),
        1 => any::<f64>().prop_map(AMQPValue::Double),
        1 => any::<(u8, u32)>().prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        1 => any::<u64>().prop_map(AMQPValue::Timestamp),
        1 => Just(AMQPValue::Void),
        1 => "(orders.billing.retry|elsewhere)".prop_map(|queue| array([death(&queue), death("elsewhere")])),
    ];
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..3).prop_map(|values| AMQPValue::FieldArray(values.into())),
            collection::btree_map(".{0,5}".prop_map(ShortString::from), inner, 0..3)
                .prop_map(|table| AMQPValue::FieldTable(table.into())),
        ]
    })
}

/// Names that mean something here, to the broker, or to nobody.
fn foreign_names() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => ".{0,9}",
        1 => "(x-death|x-(first|last)-death-(queue|reason)|x-delivery-count|x-acquired-count|x-other|CC|BCC)",
        1 => "amqp[.](type|expiration|user-id|priority|timestamp|delivery-mode|reply-to|message-id|other)",
    ]
}

/// What a foreign program may publish; `names` are those of its headers.
fn properties(names: impl Strategy<Value = String>) -> impl Strategy<Value = BasicProperties> {
    let text = || option::weighted(0.3, prop_oneof![".{0,9}", Just(kept::DIRECT_REPLY.to_owned())]);
    let table = option::weighted(0.9, collection::btree_map(names.prop_map(ShortString::from), values(), 0..6));
    let texts = [text(), text(), text(), text(), text(), text(), text(), text(), text(), text()];
    let numbers = (option::of(any::<u8>()), option::of(any::<u8>()), option::of(any::<u64>()));
    (texts, numbers, table).prop_map(|(texts, (mode, priority, timestamp), table)| {
        let setters = [
            BasicProperties::with_content_type,
            BasicProperties::with_content_encoding,
            BasicProperties::with_correlation_id,
            BasicProperties::with_reply_to,
            BasicProperties::with_expiration,
            BasicProperties::with_message_id,
            BasicProperties::with_type,
            BasicProperties::with_user_id,
            BasicProperties::with_app_id,
            BasicProperties::with_cluster_id,
        ];
        let mut properties = BasicProperties::default();
        for (set, text) in setters.into_iter().zip(texts) {
            properties = text.map_or(properties.clone(), |text| set(properties, text.into()));
        }
        properties = mode.map_or(properties.clone(), |mode| properties.with_delivery_mode(mode));
        properties = priority.map_or(properties.clone(), |priority| properties.with_priority(priority));
        properties = timestamp.map_or(properties.clone(), |timestamp| properties.with_timestamp(timestamp));
        table.map_or(properties.clone(), |table| properties.with_headers(table.into()))
    })
}

fn notes() -> impl Strategy<Value = Notes> {
    let number = || option::of(0..=u64::from(u32::MAX) * 1_000);
    let origin = option::of(any::<(u64, u64)>().prop_map(|(first, second)| Token(first, second)));
    let numbers = [number(), number(), number(), number(), number()];
    (any::<u32>(), origin, numbers, option::of(".{0,9}"), option::of(".{0,9}")).prop_map(
        |(
            attempts,
            origin,
            [published_ms, first_failed_ms, last_failed_ms, due_ms, copied_ms],
            reason,
            origin_text,
        )| Notes {
            attempts,
            origin,
            published_ms,
            first_failed_ms,
            last_failed_ms,
            due_ms,
            reason,
            origin_text,
            copied_ms,
        },
    )
}
