//! A first publish: what comes back, and what is refused.

use super::super::write::ROOM_FOR_NOTES;
use super::super::write::encode_at;
use super::*;
use crate::clock::now_ms;

/// The time of every publish.
const NOW_MS: u64 = 1_700_000_000_123;

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from), ".{0,9}".prop_map(Bytes::from)]
}

fn names() -> impl Strategy<Value = String> {
    let taken =
        |name: &String| name.starts_with("zephcast-") || name.starts_with(standard::PREFIX) || deaths::is_brokers(name);
    prop_oneof![9 => ".{0,9}", 1 => Just("n".repeat(255))].prop_filter("taken", move |name| !taken(name))
}

fn standard_headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let header = |name: &str, value: &'static str| {
        let name = format!("amqp.{name}");
        option::weighted(0.3, value.prop_map(move |value| (name.clone(), value)))
    };
    let text = ".{0,9}";
    let timestamp = prop_oneof![Just(NOW_MS / 1_000), any::<u64>()].prop_map(|time| time.to_string());
    let all = (
        [header("content-type", text), header("content-encoding", text), header("correlation-id", text)],
        [header("type", text), header("user-id", text), header("app-id", text), header("cluster-id", text)],
        [header("priority", "[0-9]|1[0-9]{2}"), header("expiration", "0|[1-9][0-9]{0,8}"), header("reply-to", text)],
        option::weighted(0.3, timestamp.prop_map(|time| ("amqp.timestamp".to_owned(), time))),
    );
    all.prop_map(|(some, more, most, last)| some.into_iter().chain(more).chain(most).chain([last]).flatten().collect())
}

/// Messages that can be published, with their headers in the order in which they come.
fn messages() -> impl Strategy<Value = Message> {
    let headers = collection::btree_map(names(), bytes(), 0..5);
    (bytes(), option::of(bytes()), option::of(bytes()), headers, standard_headers()).prop_map(
        |(payload, key, id, mut headers, standard)| {
            headers.extend(standard.into_iter().map(|(name, value)| (name, value.into())));
            let headers = headers.into_iter().map(|(name, value)| (name.into(), Some(value))).collect();
            Message::from_parts(Some(payload), key, headers, id.map(MessageId::new))
        },
    )
}

proptest! {
    #[test]
    fn what_is_published_is_delivered(message in messages()) {
        let outgoing = encode_at(&message, "s", MAX, NOW_MS).unwrap();
        prop_assert_eq!(*outgoing.properties.delivery_mode(), Some(2));
        let published = Notes { published_ms: Some(NOW_MS), ..Notes::default() };
        prop_assert_eq!(&delivered(&outgoing), &Decoded { message: message.clone(), notes: published, original: None });
        // Without what the driver adds, it is the same for any program.
        prop_assert!(outgoing.properties.headers().as_ref().unwrap().contains_key("zephcast-published-ms"));
        prop_assert!(outgoing.properties.timestamp().is_some());
    }

    #[test]
    fn whatever_is_taken_comes_back(name in foreign_names(), value in option::of(bytes()), key in option::of(bytes())) {
        let headers = [(Bytes::from(name), value)].into_iter().collect();
        let message = Message::from_parts(Some(Bytes::new()), key, headers, None);
        match encode_at(&message, "s", MAX, NOW_MS) {
            Ok(outgoing) => prop_assert_eq!(delivered(&outgoing).message, message),
            Err(refused) => prop_assert_eq!(refused.kind(), ErrorKind::InvalidInput),
        }
    }
}

#[test]
fn key_and_id_are_where_plain_clients_look_for_them() {
    let message = |key: &'static [u8], id: &'static [u8]| Message::new("").with_key(key).with_id(MessageId::new(id));
    let outgoing = encode(&message(b"customer-7", b"order-1"), "s", MAX).unwrap();
    assert_eq!(outgoing.routing_key.as_str(), "customer-7");
    assert_eq!(outgoing.properties.message_id(), &Some("order-1".into()));
    let table = outgoing.properties.headers().as_ref().unwrap().inner();
    assert_eq!(table.keys().map(ShortString::as_str).collect::<Vec<_>>(), ["zephcast-published-ms"]);
    for odd in [&b""[..], &b"\xff"[..]] {
        let outgoing = encode(&message(odd, odd), "s", MAX).unwrap();
        assert_eq!(outgoing.routing_key.as_str(), "");
        assert_eq!(outgoing.properties.message_id(), &None);
        assert_eq!(delivered(&outgoing).message, message(odd, odd));
    }
    let long: Bytes = "k".repeat(255).into();
    let message = Message::new("").with_key(long.clone()).with_id(MessageId::new("i".repeat(300)));
    let outgoing = encode(&message, "s", MAX).unwrap();
    assert_eq!(outgoing.routing_key.as_str().as_bytes(), long);
    assert_eq!(delivered(&outgoing).message, message);
}

#[test]
fn into_a_queue_goes_what_can_be_tried_again() {
    let message = Message::new("").with_key("k".repeat(300)).with_header("amqp.expiration", "1000");
    let outgoing = encode_for_queue(&message, "s.g", MAX).unwrap();
    assert_eq!(outgoing.properties.expiration(), &Some("1000".into()));
    assert_eq!(delivered(&outgoing).message, message);
    let brokers = encode_for_queue(&Message::new("").with_header("x-delivery-count", "99"), "s.g", MAX).unwrap_err();
    assert_eq!(brokers.kind(), ErrorKind::InvalidInput, "{brokers}");
    let large = |bytes: usize| Message::new("").with_header("large", "x".repeat(bytes));
    assert!(encode_for_queue(&large(MAX - ROOM_FOR_NOTES - 200), "s.g", MAX).is_ok());
    let too_large = encode_for_queue(&large(MAX - ROOM_FOR_NOTES), "s.g", MAX).unwrap_err();
    assert_eq!(too_large.kind(), ErrorKind::TooLarge, "{too_large}");
}

#[test]
fn the_time_of_publishing_is_noted() {
    let before = now_ms();
    let decoded = delivered(&encode(&Message::new(""), "s", MAX).unwrap());
    let published_ms = decoded.notes.published_ms.unwrap();
    assert!((before..=before + 60_000).contains(&published_ms), "{published_ms} is not after {before}");
}

#[test]
fn what_cannot_be_carried_is_refused() {
    let message = || Message::new("body");
    let mut null = message();
    null.headers_mut().append_null("null");
    let long = || "n".repeat(256);
    let header = |name: &str, value: &str| message().with_header(name.to_owned(), value.to_owned());
    for (message, why) in [
        (Message::without_payload(), "without a payload"),
        (null, "\"null\" has no value"),
        (header("twice", "secret").with_header("twice", "secret"), "\"twice\" occurs twice"),
        (header("amqp.type", "secret").with_header("amqp.type", "secret"), "\"amqp.type\" occurs twice"),
        (header("amqp.priority", "1").with_header("amqp.priority", "1"), "occurs twice"),
        (header("amqp.timestamp", "1").with_header("amqp.timestamp", "1"), "occurs twice"),
        (message().with_header(&b"a\xff"[..], "secret"), "not UTF-8"),
        (header(&long(), "secret"), "name of 256 bytes; at most 255"),
        (header("zephcast-key", "secret"), "reserved `zephcast-`"),
        (message().with_key(long()), "the key has 256 bytes; a routing key has at most 255"),
        (message().with_key(vec![0xff; 256]), "the key has 256 bytes"),
        (header("amqp.other", "secret"), "amqp.cluster-id, amqp.content-encoding, amqp.content-type"),
        (header("amqp.message-id", "secret"), "is no property"),
        (header("amqp.type", &long()), "more than 255 bytes"),
        (message().with_header("amqp.type", &b"\xff"[..]), "not UTF-8"),
        (header("amqp.priority", "256"), "0 to 255"),
        (header("amqp.priority", "07"), "0 to 255"),
        (header("amqp.timestamp", "-1"), "number of seconds"),
        (header("amqp.expiration", "1s"), "milliseconds"),
        (header("amqp.expiration", "4294967296"), "milliseconds"),
        (header("amqp.reply-to", "amq.rabbitmq.reply-to"), "asks for answers"),
        (header("amqp.delivery-mode", "1"), "persistent"),
        (header("amqp.delivery-mode", "2"), "persistent"),
        (header("CC", "secret"), "the broker's own"),
        (header("BCC", "secret"), "the broker's own"),
        (header("x-death", "secret"), "the broker's own"),
        (header("x-first-death-queue", "secret"), "the broker's own"),
        (header("x-last-death-reason", "secret"), "the broker's own"),
        (header("x-delivery-count", "secret"), "the broker's own"),
        (header("x-acquired-count", "secret"), "the broker's own"),
    ] {
        let error = encode(&message, "s", MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(why), "{error}: not {why:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn headers_that_no_frame_can_carry_are_refused_with_room_for_notes() {
    let message = |bytes: usize| Message::new("body").with_header("large", vec![b'x'; bytes]);
    let empty = size::header_frame(&encode(&message(0), "s", MAX).unwrap().properties);
    let most = MAX - ROOM_FOR_NOTES - empty;
    assert!(encode(&message(most), "s", MAX).is_ok());
    let error = encode(&message(most + 1), "s", MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("122880"), "{error}");
    // What was taken can be copied, with the longest of everything.
    let long = message(most - 300).with_key("k".repeat(255));
    let notes = Notes {
        attempts: u32::MAX,
        origin: Some(Token(u64::MAX, u64::MAX)),
        published_ms: Some(1),
        first_failed_ms: Some(1),
        last_failed_ms: Some(1),
        due_ms: Some(1),
        reason: Some("r".repeat(1_024)),
        origin_text: Some("o".repeat(600)),
        copied_ms: Some(1),
    };
    let decoded = delivered(&encode(&long, "s", MAX).unwrap());
    let copy = copied(&decoded, &notes);
    assert!(size::header_frame(&copy.properties) > MAX - ROOM_FOR_NOTES);
    let error = encode_copy(&decoded.message, None, &notes, MAX / 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}
