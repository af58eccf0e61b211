//! Copies into queues of the group's own.

use super::*;
use crate::RabbitConfig;

proptest! {
    #[test]
    fn a_copy_is_delivered_as_the_message_was(
        properties in properties(foreign_names()),
        key in ".{0,9}",
        notes in notes(),
    ) {
        let first = decode(Bytes::from("body"), &key, over_the_wire(&properties), OWN);
        let copy = copied(&first, &notes);
        prop_assert_eq!(*copy.properties.delivery_mode(), Some(2));
        let second = delivered_copy(&copy);
        prop_assert_eq!(&second.message, &first.message);
        prop_assert_eq!(&second.notes, &notes);
        // It has its types as before: a copy of the copy is the same one.
        prop_assert_eq!(copied(&second, &notes), copy);
    }

    #[test]
    fn headers_keep_their_types(properties in properties(".{0,9}")) {
        let copy = copied(&foreign(&properties), &Notes::default());
        let copy = copy.properties.headers().clone().unwrap();
        for (name, value) in properties.headers().iter().flatten() {
            prop_assert_eq!(copy.inner().get(name), Some(value));
        }
    }

    #[test]
    fn nothing_in_a_copy_moves_the_broker(properties in properties(foreign_names()), notes in notes()) {
        let copy = copied(&foreign(&properties), &notes).properties;
        prop_assert_eq!((copy.expiration(), copy.user_id()), (&None, &None));
        prop_assert_ne!(copy.reply_to(), &Some(kept::DIRECT_REPLY.into()));
        prop_assert!(copy.headers().iter().flatten().all(|(name, _)| !deaths::is_brokers(name.as_str())));
    }
}

#[test]
fn a_message_of_ours_is_copied_without_its_original() {
    let message = Message::new("body").with_key("k").with_id(MessageId::new("i")).with_header("amqp.expiration", "500");
    let message = message.with_header("amqp.type", "t").with_header("own", "1");
    let first = delivered(&encode(&message, "s", MAX).unwrap());
    assert_eq!(first.original, None);
    let notes = Notes { attempts: 3, reason: Some("it failed".into()), ..first.notes.clone() };
    let copy = copied(&first, &notes);
    let table = copy.properties.headers().as_ref().unwrap().inner();
    assert_eq!(table["zephcast-expiration"], words("500"));
    assert_eq!(table["zephcast-key"], words("k"));
    assert_eq!(table["zephcast-attempts"], AMQPValue::LongLongInt(3));
    assert_eq!((copy.properties.kind(), copy.properties.message_id()), (&Some("t".into()), &Some("i".into())));
    assert_eq!(copy.properties.timestamp(), &first.notes.published_ms.map(|published_ms| published_ms / 1_000));
    let second = delivered_copy(&copy);
    assert_eq!(second, Decoded { message, notes, original: None });
}

#[test]
fn no_key_is_not_the_name_of_the_queue() {
    let first = delivered(&encode(&Message::new("body"), "s", MAX).unwrap());
    assert_eq!(first.message.key(), None);
    assert_eq!(delivered_copy(&copied(&first, &Notes::default())).message.key(), None);
}

#[test]
fn changed_headers_are_text_and_removed_ones_are_gone() {
    let number = AMQPValue::LongInt(7);
    let came =
        [("changed", number.clone()), ("kept", number.clone()), ("removed", number.clone()), ("void", AMQPValue::Void)];
    let mut decoded = foreign(&with_headers(came));
    decoded.message.headers_mut().remove("changed");
    decoded.message.headers_mut().remove("removed");
    decoded.message.headers_mut().append("changed", "8");
    decoded.message.headers_mut().append("added", "9");
    let copy = copied(&decoded, &Notes::default()).properties.headers().clone().unwrap();
    let expected = [
        ("added", words("9")),
        ("changed", words("8")),
        ("kept", number),
        ("void", AMQPValue::Void),
        ("zephcast-key", words("key")),
    ];
    assert_eq!(copy, table(expected));
    decoded.message.headers_mut().append_null("null");
    let error = encode_copy(&decoded.message, decoded.original.as_deref(), &Notes::default(), MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn headers_that_look_like_properties_stay_headers() {
    let came = [
        ("amqp.expiration", words("a header")),
        ("amqp.other", AMQPValue::Boolean(true)),
        ("amqp.type", words("hidden")),
    ];
    let first = foreign(&with_headers(came.clone()).with_type("t".into()));
    let shown = pairs([("amqp.expiration", "a header"), ("amqp.other", "true"), ("amqp.type", "t")]);
    assert_eq!(texts(&first), shown);
    let copy = copied(&first, &Notes::default());
    assert_eq!(copy.properties.kind(), &Some("t".into()));
    let [one, other, hidden] = came;
    assert_eq!(copy.properties.headers(), &Some(table([one, other, hidden, ("zephcast-key", words("key"))])));
    assert_eq!(texts(&delivered_copy(&copy)), shown);
}

#[test]
fn what_others_dead_lettered_survives_what_our_queues_do() {
    let first = foreign(&with_headers([
        ("x-death", array([death("elsewhere")])),
        ("x-first-death-queue", words("elsewhere")),
        ("x-first-death-reason", words("expired")),
    ]));
    let shown = texts(&first);
    assert_eq!(
        shown.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>(),
        ["x-death", "x-first-death-queue", "x-first-death-reason",]
    );
    let copy = copied(&first, &Notes::default());
    // The copy expires in a queue of ours, and comes back from there.
    let mut headers = copy.properties.headers().clone().unwrap();
    for (name, value) in [
        ("x-death", array([death("orders.billing.retry")])),
        ("x-first-death-queue", words("orders.billing.retry")),
        ("x-first-death-reason", words("rejected")),
    ] {
        headers.insert(name.into(), value);
    }
    let second =
        delivered_copy(&Outgoing { properties: copy.properties.clone().with_headers(headers), ..copy.clone() });
    assert_eq!(texts(&second), shown);
    assert_eq!(copied(&second, &Notes::default()), copy);
}

#[test]
fn a_copy_has_room_for_the_time_that_it_waits() {
    let names =
        Names::new(&RabbitConfig::new("h", 1), &"orders".parse().unwrap(), &"billing".parse().unwrap()).unwrap();
    let first = foreign(&with_headers([("much", words(&"m".repeat(1_000)))]));
    let longest = Duration::from_millis(u32::MAX.into());
    let copy = copied(&first, &Notes::default());
    let before = size::header_frame(&copy.properties);
    let mut delayed = copy;
    delayed.delay(&names, Delay::of(longest), longest);
    assert!(size::header_frame(&delayed.properties) > before);
    assert!(size::header_frame(&delayed.properties) <= before + EXPIRATION_BYTES);
}
