use proptest::prelude::*;
use zephcast_core::ErrorKind;

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

fn names() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(1_u8.., 0..12).prop_map(Bytes::from)
}

fn messages() -> impl Strategy<Value = Message> {
    let own = names().prop_filter("reserved", |name| !name.starts_with(RESERVED_PREFIX.as_bytes()));
    let headers = prop::collection::vec((own, prop::option::of(bytes())), 0..5);
    (prop::option::of(bytes()), prop::option::of(bytes()), headers, prop::option::of(bytes())).prop_map(
        |(payload, key, headers, id)| {
            let mut message = payload.map_or_else(Message::without_payload, Message::new);
            message = message.with_headers(headers.into_iter().collect());
            message = key.map_or(message.clone(), |key| message.with_key(key));
            id.map_or(message.clone(), |id| message.with_id(MessageId::new(id)))
        },
    )
}

fn notes() -> impl Strategy<Value = Notes> {
    let number = || prop::option::of(any::<u64>());
    let origin = prop::option::of((0..UnitId::HELPERS, any::<u64>()));
    let text = prop::option::of("[a-z.]{1,9}@[0-9]:[0-9]{1,9}");
    (any::<u32>(), origin, [number(), number(), number(), number()], prop::option::of(".*"), text).prop_map(
        |(attempts, origin, [first_failed_ms, last_failed_ms, due_ms, published_ms], reason, origin_text)| Notes {
            attempts,
            origin: origin.map(|(unit, offset)| (UnitId(unit), Token(offset, 0))),
            published_ms,
            first_failed_ms,
            last_failed_ms,
            reason,
            origin_text,
            due_ms,
        },
    )
}

/// What a reader of the topic finds.
fn read(written: &Written<'_>) -> (Option<Bytes>, Option<Bytes>, Headers) {
    let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let record = written.record(None).unwrap();
    let headers = written.headers().map(|(name, value)| (copy(name), value.map(copy))).collect();
    (record.payload.map(copy), record.key.map(copy), headers)
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in messages(), notes in notes()) {
        let outgoing = Outgoing::new(&message, &notes).unwrap();
        let (payload, key, headers) = read(&outgoing.written());
        prop_assert_eq!(decode(payload, key, &headers), (message.clone(), notes));
        let (payload, key, headers) = read(&Written::of(&message));
        prop_assert_eq!(decode(payload, key, &headers), (message, Notes::default()));
    }

    #[test]
    fn what_others_wrote_is_read(
        payload in prop::option::of(bytes()),
        key in prop::option::of(bytes()),
        headers in prop::collection::vec(("(zephcast-(id|origin|attempts|due-ms|other))?", bytes(), prop::option::of(bytes())), 0..6),
    ) {
        let named = headers.iter().map(|(ours, name, value)| {
            (if ours.is_empty() { name.clone() } else { Bytes::from(ours.clone()) }, value.clone())
        });
        let headers: Headers = named.collect();
        let (message, _) = decode(payload.clone(), key.clone(), &headers);
        let (read_payload, read_key, read_headers, id) = message.into_parts();
        prop_assert_eq!((read_payload, read_key), (payload, key));
        prop_assert!(id.is_none() || headers.iter().any(|(name, _)| name == "zephcast-id"));
        let kept = headers.into_iter().filter(|(name, _)| !name.starts_with(RESERVED_PREFIX.as_bytes()));
        prop_assert_eq!(read_headers, kept.collect());
    }
}

#[test]
fn a_message_of_nobody_stays_as_it_is() {
    let mut headers = Headers::new();
    headers.append("a", "1");
    headers.append_null("zephcast-id");
    headers.append("zephcast-id", "one");
    headers.append("zephcast-id", "two");
    headers.append("zephcast-attempts", "many");
    let (message, notes) = decode(None, None, &headers);
    assert_eq!(message, Message::without_payload().with_header("a", "1").with_id(MessageId::new("one")));
    assert_eq!(notes, Notes::default());
}

#[test]
fn a_name_with_a_zero_byte_is_refused() {
    let message = Message::new("").with_header(&b"a\0b"[..], "1");
    assert_eq!(Outgoing::new(&message, &Notes::default()).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Written::of(&message).record(None).err(), Some(Code::InvalidArgument));
}
