use lapin::protocol::{AMQPClass, basic, channel, connection, gen_class, parse_class, queue};
use lapin::types::{AMQPValue, FieldTable};

use super::super::fields::MAX_DEPTH;
use super::super::mended::Mended;
use super::super::methods;
use super::*;

/// In the place of what is no UTF-8 yet.
const MARK: &str = "key~";

/// Each method of a server with a text, and how many texts that are.
fn with_marks() -> Vec<(AMQPClass, u64)> {
    let mark = || MARK.into();
    let delivered = basic::Deliver {
        consumer_tag: mark(),
        delivery_tag: 7,
        redelivered: true,
        exchange: mark(),
        routing_key: mark(),
    };
    let gotten =
        basic::GetOk { delivery_tag: 7, redelivered: true, exchange: mark(), routing_key: mark(), message_count: 7 };
    let returned = basic::Return { reply_code: 312, reply_text: mark(), exchange: mark(), routing_key: mark() };
    let closed = channel::Close { reply_code: 404, reply_text: mark(), class_id: 60, method_id: 40 };
    let over = connection::Close { reply_code: 320, reply_text: mark(), class_id: 0, method_id: 0 };
    let declared = queue::DeclareOk { queue: mark(), message_count: 7, consumer_count: 7 };
    vec![
        (AMQPClass::Basic(basic::AMQPMethod::Deliver(delivered)), 3),
        (AMQPClass::Basic(basic::AMQPMethod::GetOk(gotten)), 2),
        (AMQPClass::Basic(basic::AMQPMethod::Return(returned)), 3),
        (AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag: mark() })), 1),
        (AMQPClass::Basic(basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: mark(), nowait: true })), 1),
        (AMQPClass::Basic(basic::AMQPMethod::CancelOk(basic::CancelOk { consumer_tag: mark() })), 1),
        (AMQPClass::Queue(queue::AMQPMethod::DeclareOk(declared)), 1),
        (AMQPClass::Channel(channel::AMQPMethod::Close(closed)), 1),
        (AMQPClass::Connection(connection::AMQPMethod::Close(over)), 1),
        (AMQPClass::Connection(connection::AMQPMethod::Blocked(connection::Blocked { reason: mark() })), 1),
    ]
}

fn written(method: &AMQPClass) -> Vec<u8> {
    gen_class(method)(Vec::new().into()).unwrap().write
}

fn mended(mut payload: Vec<u8>) -> (Vec<u8>, Mended) {
    let mended = methods::method(&mut payload);
    (payload, mended)
}

fn with(mut payload: Vec<u8>, byte: u8) -> Vec<u8> {
    for at in payload.iter_mut().filter(|at| **at == b'~') {
        *at = byte;
    }
    payload
}

#[test]
fn each_text_is_mended() {
    for (method, texts) in with_marks() {
        let payload = written(&method);
        assert_eq!(mended(payload.clone()), (payload.clone(), Mended::default()), "{method:?}");
        let (after, changes) = mended(with(payload.clone(), 0xFF));
        assert_eq!((&after, changes), (&with(payload, b'?'), Mended { texts, nested: 0 }), "{method:?}");
        assert!(parse_class(&after[..]).is_ok(), "{method:?}");
    }
}

#[test]
fn the_servers_properties_are_walked() {
    let mut properties = FieldTable::default();
    properties.insert("product".into(), AMQPValue::LongString("RabbitMQ".into()));
    let start = connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: properties,
        mechanisms: "PLAIN".into(),
        locales: "en_US".into(),
    };
    let payload = written(&AMQPClass::Connection(connection::AMQPMethod::Start(start)));
    assert_eq!(mended(payload.clone()), (payload, Mended::default()));
    let deep = [&[0, 10, 0, 10, 0, 9][..], &long(&nested(MAX_DEPTH + 1, &[], false)), &long(b""), &long(b"")].concat();
    let (after, changes) = mended(deep);
    assert_eq!(changes, Mended { texts: 0, nested: 1 });
    assert!(parse_class(&after[..]).is_ok());
}

#[test]
fn what_is_cut_off_or_unknown_stays_as_it_is() {
    for (method, _) in with_marks() {
        let payload = written(&method);
        for length in 0..payload.len() {
            assert_eq!(mended(payload[..length].to_vec()), (payload[..length].to_vec(), Mended::default()));
        }
    }
    let unknown = [&[0, 60, 0, 99][..], &short(b"\xFF")].concat();
    assert_eq!(mended(unknown.clone()), (unknown, Mended::default()));
}
