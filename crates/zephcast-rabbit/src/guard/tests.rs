//! What the tests of the guard are written in: the bytes of AMQP, also those that no library writes.

mod fields;
mod frames;
mod methods;

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()][..], text].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A value of a table.
fn entry(name: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
    [&short(name)[..], &[kind], value].concat()
}

/// So many tables around `core`, the innermost table's bytes; every other one is an array if `mixed`.
fn nested(depth: usize, core: &[u8], mixed: bool) -> Vec<u8> {
    let is_array = |level: usize| mixed && level % 2 == 1;
    // From the inside out, so that nothing is written twice: the ends first.
    (1..=depth).rev().fold(core.to_vec(), |inside, level| {
        let kind = if is_array(level) { b'A' } else { b'F' };
        match is_array(level - 1) {
            true => [&[kind][..], &long(&inside)].concat(),
            false => entry(b"n", kind, &long(&inside)),
        }
    })
}

/// The payload of a content header that has but this table, which is given without its length.
fn header(table: &[u8]) -> Vec<u8> {
    [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1 << 5, 0][..], &long(table)].concat()
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 0, 1][..], &long(payload), &[0xCE]].concat()
}
