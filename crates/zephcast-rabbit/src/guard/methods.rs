//! The methods of a server in which something is written by whoever publishes, declares or consumes.

use super::fields::{self, Field};
use super::mended::Mended;

/// Mends a method.
pub(super) fn method(payload: &mut [u8]) -> Mended {
    fields::mend(payload, |walk| {
        let (class, number) = (u16::from_be_bytes(walk.array()?), u16::from_be_bytes(walk.array()?));
        arguments(class, number).iter().try_for_each(|field| walk.field(*field))
    })
}

/// Those of a method, as far as its last text or table.
fn arguments(class: u16, number: u16) -> &'static [Field] {
    use Field::{Fixed, Short, Table};
    match (class, number) {
        // basic.deliver: consumer tag, delivery tag and whether it comes again, exchange, routing key.
        (60, 60) => &[Short, Fixed(8 + 1), Short, Short],
        // basic.get-ok: delivery tag and whether it comes again, exchange, routing key.
        (60, 71) => &[Fixed(8 + 1), Short, Short],
        // basic.return: code, text, exchange, routing key.
        (60, 50) => &[Fixed(2), Short, Short, Short],
        // basic.consume-ok, basic.cancel, basic.cancel-ok: consumer tag.
        (60, 21 | 30 | 31) => &[Short],
        // queue.declare-ok: queue.
        (50, 11) => &[Short],
        // connection.close, channel.close: code, text.
        (10, 50) | (20, 40) => &[Fixed(2), Short],
        // connection.open-ok: nothing of use. connection.blocked: reason.
        (10, 41 | 60) => &[Short],
        // connection.start: version, properties of the server.
        (10, 10) => &[Fixed(2), Table],
        _ => &[],
    }
}
