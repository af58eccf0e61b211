//! How large the frame is that carries everything of a message but its body. A larger one than the connection allows would
//! make the server close the connection.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};

use super::standard;

/// Around the properties: type, channel, size and end of the frame; class, weight and size of the body; flags.
const FIXED: usize = (1 + 2 + 4 + 1) + (2 + 2 + 8) + 2;
/// Before a table, an array, a long string.
const LENGTH: usize = 4;

/// The bytes of the whole frame.
pub(super) fn header_frame(properties: &BasicProperties) -> usize {
    let texts = standard::texts(properties).chain(properties.message_id().as_ref());
    let texts: usize = texts.map(short).sum();
    let mode = properties.delivery_mode().map_or(0, |_| 1);
    let priority = properties.priority().map_or(0, |_| 1);
    let timestamp = properties.timestamp().map_or(0, |_| 8);
    let mut size = FIXED + texts + mode + priority + timestamp;
    let Some(table) = properties.headers() else { return size };
    size += LENGTH;
    // No recursion: how deep values lie in each other is up to whoever published them.
    let mut nested = Vec::new();
    for (name, value) in table {
        size += short(name) + typed(value, &mut nested);
    }
    while let Some(container) = nested.pop() {
        match container {
            AMQPValue::FieldTable(table) => {
                size += table.into_iter().map(|(name, value)| short(name) + typed(value, &mut nested)).sum::<usize>();
            }
            AMQPValue::FieldArray(array) => {
                size += array.as_slice().iter().map(|value| typed(value, &mut nested)).sum::<usize>();
            }
            _ => {}
        }
    }
    size
}

fn short(text: &ShortString) -> usize {
    1 + text.as_str().len()
}

/// The bytes of a value and its type, without what a container holds, which is still to be counted.
fn typed<'a>(value: &'a AMQPValue, nested: &mut Vec<&'a AMQPValue>) -> usize {
    let bytes = match value {
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => short(text),
        AMQPValue::LongString(text) => LENGTH + text.len(),
        AMQPValue::ByteArray(bytes) => LENGTH + bytes.len(),
        AMQPValue::FieldTable(_) | AMQPValue::FieldArray(_) => {
            nested.push(value);
            LENGTH
        }
        AMQPValue::Void => 0,
    };
    1 + bytes
}
