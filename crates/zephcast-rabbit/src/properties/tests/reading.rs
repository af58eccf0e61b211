//! What is shown of messages that others published.

use super::*;

proptest! {
    #[test]
    fn any_properties_are_decoded(
        properties in properties(prop_oneof![foreign_names(), "zephcast-(key|id|origin|attempts|expiration|reply-to|own-timestamp|x-death)"]),
        key in ".{0,9}",
    ) {
        let decoded = decode(Bytes::from("body"), &key, properties.clone(), OWN);
        let mut names = decoded.message.headers().iter().map(|(name, _)| name).collect::<Vec<_>>();
        prop_assert!(names.is_sorted());
        names.dedup();
        prop_assert_eq!(names.len(), decoded.message.headers().len());
        prop_assert!(decoded.message.check_reserved().is_ok());
        prop_assert_eq!(decoded.message.payload(), "body");
        let has_id = properties.headers().iter().flatten().any(|(name, _)| name.as_str() == "zephcast-id");
        prop_assert!(decoded.message.id().is_some() <= (has_id || properties.message_id().is_some()));
        let kept = encode_copy(&decoded.message, decoded.original.as_deref(), &decoded.notes, MAX);
        prop_assert!(kept.is_ok(), "{:?}", kept);
    }
}

#[test]
fn a_foreign_message_gets_nothing_that_it_did_not_have() {
    let decoded = decode(Bytes::from("body"), "", BasicProperties::default(), OWN);
    assert_eq!(decoded, Decoded { message: Message::new("body"), notes: Notes::default(), original: None });
    let decoded = foreign(&with_headers([("a", words("1"))]).with_message_id("id".into()));
    let expected = Message::new("body").with_key("key").with_id(MessageId::new("id")).with_header("a", "1");
    assert_eq!((decoded.message, decoded.original), (expected, None));
}

#[test]
fn of_ours_what_cannot_be_read_means_nothing() {
    let forged = [
        ("zephcast-attempts", words("many")),
        ("zephcast-expiration", AMQPValue::Void),
        ("zephcast-id", AMQPValue::LongInt(1)),
        ("zephcast-key", AMQPValue::Boolean(true)),
        ("zephcast-origin", words("1")),
        ("zephcast-other", words("1")),
        ("zephcast-published-ms", AMQPValue::LongInt(-1)),
        ("zephcast-reply-to", AMQPValue::LongString(LongString::from(&b"\xff"[..]))),
    ];
    let expected = Message::new("body").with_key("key");
    assert_eq!(foreign(&with_headers(forged)), Decoded { message: expected, notes: Notes::default(), original: None });
}

#[test]
fn every_type_is_shown_as_text() {
    let decimal = |scale, value| AMQPValue::DecimalValue(DecimalValue { scale, value });
    for (value, shown) in [
        (words("text"), Some("text")),
        (AMQPValue::ShortString("short".into()), Some("short")),
        (AMQPValue::ByteArray(ByteArray::from(&b"bytes"[..])), Some("bytes")),
        (AMQPValue::Boolean(true), Some("true")),
        (AMQPValue::ShortShortInt(-1), Some("-1")),
        (AMQPValue::ShortShortUInt(255), Some("255")),
        (AMQPValue::ShortInt(-2), Some("-2")),
        (AMQPValue::ShortUInt(65_535), Some("65535")),
        (AMQPValue::LongInt(-3), Some("-3")),
        (AMQPValue::LongUInt(u32::MAX), Some("4294967295")),
        (AMQPValue::LongLongInt(i64::MIN), Some("-9223372036854775808")),
        (AMQPValue::Float(0.1), Some("0.1")),
        (AMQPValue::Double(1e300), Some("1e300")),
        (AMQPValue::Double(f64::NAN), Some("NaN")),
        (decimal(2, 12_345), Some("123.45")),
        (decimal(0, 7), Some("7")),
        (decimal(3, 7), Some("0.007")),
        (AMQPValue::Timestamp(1_700_000_000), Some("1700000000")),
        (AMQPValue::Void, None),
        (array([]), Some("[]")),
        (AMQPValue::FieldTable(FieldTable::default()), Some("{}")),
        (
            AMQPValue::FieldTable(table([
                (
                    "a \"name\"",
                    array([words("x\n"), AMQPValue::Void, AMQPValue::LongInt(1), AMQPValue::Boolean(false)]),
                ),
                ("b", array([decimal(1, 25), AMQPValue::Float(f32::INFINITY), AMQPValue::Double(2.0)])),
                ("c", AMQPValue::LongString(LongString::from(&b"\xff"[..]))),
            ])),
            Some(r#"{"a \"name\"":["x\n",null,1,false],"b":[2.5,"inf",2.0],"c":"�"}"#),
        ),
    ] {
        let decoded = decode(Bytes::new(), "", with_headers([("h", value.clone())]), OWN);
        assert_eq!(headers(&decoded), [("h".to_owned(), shown.map(str::to_owned))]);
        assert_eq!(decoded.original.is_none(), text::says_all(&value), "{value:?}");
    }
}

#[test]
fn what_is_nested_without_end_is_shown_to_a_depth() {
    let mut value = AMQPValue::LongInt(1);
    for _ in 0..1_000 {
        value = AMQPValue::FieldArray(FieldArray::from(vec![value]));
    }
    let properties = with_headers([("deep", value.clone())]);
    assert_eq!(size::header_frame(&properties), 22 + 4 + 5 + 5_000 + 5);
    let decoded = decode(Bytes::new(), "", properties, OWN);
    assert_eq!(texts(&decoded), pairs([("deep", &format!("{}\"...\"{}", "[".repeat(16), "]".repeat(16)))]));
    let copy = copied(&decoded, &Notes::default());
    assert_eq!(copy.properties.headers().as_ref().unwrap().inner()["deep"], value);
}

#[test]
fn standard_properties_are_headers() {
    let properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("gzip".into())
        .with_correlation_id("c".into())
        .with_reply_to("answers".into())
        .with_expiration("1000".into())
        .with_priority(9)
        .with_timestamp(1_700_000_000)
        .with_type("t".into())
        .with_user_id("guest".into())
        .with_app_id("app".into())
        .with_cluster_id("cluster".into());
    let shown = [
        ("amqp.app-id", "app"),
        ("amqp.cluster-id", "cluster"),
        ("amqp.content-encoding", "gzip"),
        ("amqp.content-type", "text/plain"),
        ("amqp.correlation-id", "c"),
        ("amqp.delivery-mode", "1"),
        ("amqp.expiration", "1000"),
        ("amqp.priority", "9"),
        ("amqp.reply-to", "answers"),
        ("amqp.timestamp", "1700000000"),
        ("amqp.type", "t"),
        ("amqp.user-id", "guest"),
    ];
    assert_eq!(texts(&foreign(&properties.clone().with_delivery_mode(1))), pairs(shown));
    let persistent = foreign(&properties.with_delivery_mode(2));
    assert!(persistent.message.headers().iter().all(|(name, _)| name != "amqp.delivery-mode"));
    assert_eq!(persistent.original, None);
}

#[test]
fn what_our_own_queues_did_is_not_shown() {
    let ours = || death("orders.billing.retry");
    let other = || death("elsewhere");
    let shown = |deaths: AMQPValue| headers(&foreign(&with_headers([("x-death", deaths)])));
    assert_eq!(shown(array([ours(), ours()])), []);
    assert_eq!(shown(array([ours(), other()])), shown(array([other()])));
    let json = r#"[{"count":1,"queue":"elsewhere","reason":"expired","routing-keys":["key"]}]"#;
    assert_eq!(shown(array([other()])), [("x-death".to_owned(), Some(json.to_owned()))]);
    let decoded = foreign(&with_headers([
        ("x-acquired-count", AMQPValue::LongLongInt(2)),
        ("x-delivery-count", AMQPValue::LongLongInt(1)),
        ("x-first-death-queue", words("orders.billing.retry")),
        ("x-first-death-reason", words("expired")),
        ("x-last-death-queue", words("elsewhere")),
        ("x-last-death-reason", words("rejected")),
    ]));
    assert_eq!(texts(&decoded), pairs([("x-last-death-queue", "elsewhere"), ("x-last-death-reason", "rejected")]));
}

#[test]
fn deliveries_in_vain_are_counted_by_the_broker() {
    assert_eq!(delivery_count(&BasicProperties::default()), None);
    assert_eq!(delivery_count(&with_headers([("other", AMQPValue::LongLongInt(1))])), None);
    assert_eq!(delivery_count(&with_headers([("x-delivery-count", AMQPValue::LongLongInt(2))])), Some(2));
    assert_eq!(delivery_count(&with_headers([("x-delivery-count", AMQPValue::LongInt(-2))])), None);
}
