use std::thread;

use lapin::BasicProperties;
use lapin::protocol::basic::parse_properties;
use lapin::types::{AMQPValue, ShortString};
use proptest::prelude::*;

use super::super::fields::{self, MAX_DEPTH};
use super::super::mended::Mended;
use super::*;

/// A value of each type that the client library reads, with its type.
const VALUES: [(u8, &[u8]); 22] = [
    (b't', &[1]),
    (b'b', &[255]),
    (b'B', &[255]),
    (b's', &[0, 1]),
    (b'U', &[0, 1]),
    (b'u', &[0, 1]),
    (b'I', &[0, 0, 0, 1]),
    (b'i', &[0, 0, 0, 1]),
    (b'L', &[0, 0, 0, 0, 0, 0, 0, 1]),
    (b'l', &[0, 0, 0, 0, 0, 0, 0, 1]),
    (b'f', &[63, 128, 0, 0]),
    (b'd', &[63, 240, 0, 0, 0, 0, 0, 0]),
    (b'D', &[2, 0, 0, 0, 1]),
    (b'S', &[0, 0, 0, 2, 0xFF, 0xFE]),
    (b'x', &[0, 0, 0, 2, 0xFF, 0xFE]),
    (b'T', &[0, 0, 0, 0, 0, 0, 0, 1]),
    (b'V', &[]),
    (b'F', &[0, 0, 0, 0]),
    (b'A', &[0, 0, 0, 0]),
    (b'F', &[0, 0, 0, 3, 1, b'a', b'V']),
    (b'A', &[0, 0, 0, 3, b'V', b't', 1]),
    (b'S', &[0, 0, 0, 0]),
];

fn mended(payload: &[u8]) -> (Vec<u8>, Mended) {
    let mut after = payload.to_vec();
    let mended = fields::header(&mut after);
    assert_eq!(after.len(), payload.len());
    (after, mended)
}

/// What the client library makes of it, on a stack like that of its own thread.
fn read(payload: &[u8]) -> Option<BasicProperties> {
    let properties = payload[12..].to_vec();
    let reading =
        move || parse_properties(&properties[..]).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, read)| read);
    thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(reading).unwrap().join().unwrap()
}

fn unchanged(payload: &[u8]) {
    assert_eq!(mended(payload), (payload.to_vec(), Mended::default()));
}

/// How many tables and arrays lie in each other below the headers, and what lies in the innermost one.
fn innermost(properties: &BasicProperties) -> (usize, Option<AMQPValue>) {
    let inside = |value: &AMQPValue| match value {
        AMQPValue::FieldTable(table) => Some(table.inner().values().next().cloned()),
        AMQPValue::FieldArray(array) => Some(array.as_slice().first().cloned()),
        _ => None,
    };
    let mut value = properties.headers().as_ref().unwrap().inner().values().next().cloned();
    let mut depth = 0;
    while let Some(inner) = value.as_ref().and_then(inside) {
        value = inner;
        depth += 1;
    }
    (depth, value)
}

#[test]
fn what_lies_at_the_limit_stays() {
    for mixed in [false, true] {
        let payload = header(&nested(MAX_DEPTH, &[], mixed));
        unchanged(&payload);
        assert_eq!(innermost(&read(&payload).unwrap()), (MAX_DEPTH, None));
    }
}

#[test]
fn what_lies_deeper_is_bytes() {
    let core = entry(b"core", b'S', &long(b"value"));
    for mixed in [false, true] {
        // The innermost is a table either way.
        let payload = header(&nested(MAX_DEPTH + 2, &core, mixed));
        let (after, changes) = mended(&payload);
        assert_eq!(changes, Mended { texts: 0, nested: 1 });
        assert_eq!(payload.iter().zip(&after).filter(|(before, after)| before != after).count(), 1);
        let (depth, value) = innermost(&read(&after).unwrap());
        let Some(AMQPValue::ByteArray(bytes)) = value else { panic!("{value:?}") };
        assert_eq!(depth, MAX_DEPTH);
        assert!(bytes.as_slice().ends_with(&core));
    }
}

#[test]
fn nothing_is_too_deep() {
    // Some 130 kB, as much as a frame holds.
    let (after, changes) = mended(&header(&nested(16_000, &[], false)));
    assert_eq!(changes, Mended { texts: 0, nested: 1 });
    assert_eq!(innermost(&read(&after).unwrap()).0, MAX_DEPTH);
    // Nor what nobody can read to its end.
    let mut broken = header(&nested(16_000, b"?", false));
    assert_eq!(mended(&broken).1.nested, 1);
    broken.push(0);
    assert_eq!(read(&mended(&broken).0), None);
}

#[test]
fn each_of_several_is_found() {
    let deep = nested(MAX_DEPTH + 1, &[], true);
    let (_, changes) = mended(&header(&[&deep[..], &deep, &entry(b"\xFF", b'V', &[])].concat()));
    assert_eq!(changes, Mended { texts: 1, nested: 2 });
}

#[test]
fn every_type_is_passed_over() {
    for (kind, value) in VALUES {
        let last = entry(b"a\xFFb", b't', &[1]);
        let payload = header(&[&entry(b"first", kind, value)[..], &last].concat());
        let (after, changes) = mended(&payload);
        assert_eq!(changes, Mended { texts: 1, nested: 0 }, "{:?}", char::from(kind));
        let read = read(&after).unwrap();
        let names: Vec<&str> = read.headers().as_ref().unwrap().inner().keys().map(ShortString::as_str).collect();
        assert_eq!(names, ["a?b", "first"]);
        // And as what lies in an array.
        let array = [&[kind][..], value, b"t\x01"].concat();
        unchanged(&header(&entry(b"array", b'A', &long(&array))));
    }
}

#[test]
fn properties_that_are_no_text_are_mended() {
    let texts = |text: &[u8]| {
        let [numbers, headers] = [&[2, 9][..], &[0, 0, 0, 0][..]];
        let time = [0, 0, 0, 0, 255, 255, 255, 255];
        let (two, four) = (short(text).repeat(2), short(text).repeat(4));
        [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 255, 252][..], &two, headers, numbers, &four, &time, &four].concat()
    };
    for (text, expected) in [
        (&b"\xFF"[..], &b"?"[..]),
        (b"a\xC3(b", b"a?(b"),
        ("ä\u{1F980}".as_bytes(), "ä\u{1F980}".as_bytes()),
        (b"end\xE2\x82", b"end??"),
        (b"\xED\xA0\x80 \xF4\x90", b"??? ??"),
        (b"", b""),
    ] {
        let (after, changes) = mended(&texts(text));
        assert_eq!(after, texts(expected));
        assert_eq!(changes, Mended { texts: if text == expected { 0 } else { 10 }, nested: 0 });
        assert!(read(&after).is_some());
    }
}

#[test]
fn what_is_cut_off_stays_as_it_is() {
    let values: Vec<u8> = VALUES.iter().flat_map(|(kind, value)| entry(b"name", *kind, value)).collect();
    let payload = header(&[values, nested(MAX_DEPTH, &[], true)].concat());
    for length in 0..payload.len() {
        unchanged(&payload[..length]);
    }
}

#[test]
fn what_is_longer_than_what_it_lies_in_stays_as_it_is() {
    let mut inner = header(&[entry(b"table", b'F', &long(b"\x01")), entry(b"\xFF", b'V', &[])].concat());
    unchanged(&inner);
    // A length of the table that says more than there is.
    inner[14..18].fill(255);
    unchanged(&inner);
    unchanged(&header(&[entry(b"what", b'?', &[]), entry(b"\xFF", b'V', &[])].concat()));
}

proptest! {
    #[test]
    fn what_can_be_read_stays_as_it_is(at in 0_usize..200, byte: u8, other in 0_usize..200, another: u8) {
        let values: Vec<u8> = VALUES.iter().flat_map(|(kind, value)| entry(b"name", *kind, value)).collect();
        let mut payload = header(&[values, nested(4, &[], true)].concat());
        let length = payload.len();
        payload[at % length] = byte;
        payload[other % length] = another;
        let (after, changes) = mended(&payload);
        if read(&payload).is_some() {
            prop_assert_eq!((&after, changes), (&payload, Mended::default()));
        }
        // What is mended is mended for good.
        prop_assert_eq!(mended(&after), (after, Mended::default()));
    }

    #[test]
    fn nothing_is_too_strange(payload: Vec<u8>) {
        mended(&payload);
        mended(&header(&payload));
    }
}
