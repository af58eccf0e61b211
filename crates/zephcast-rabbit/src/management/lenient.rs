//! Fields that may be missing, or be something else.
//!
//! The API leaves out what its statistics do not have yet, writes `null`, `-1` or `""` for it, and an object without
//! entries as a list. None of that may make an answer unreadable, or a figure 0 that nobody knows.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The value, if it is one of this type.
pub(super) fn known<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// The value, or that of nothing.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(known(deserializer)?.unwrap_or_default())
}

/// Reads an answer in which a name may stand twice, of which the last counts: RabbitMQ 4.0 says the `state` of a young queue
/// twice.
pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice::<Value>(text).and_then(serde_json::from_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Queue {
        state: String,
    }

    #[test]
    fn of_what_stands_twice_the_last_counts() {
        let read: Queue = read(br#"{"state":"starting","state":"running"}"#).unwrap();
        assert_eq!(read, Queue { state: "running".into() });
    }
}
