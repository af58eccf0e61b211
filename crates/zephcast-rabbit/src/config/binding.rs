//! Which messages of a stream a group gets.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Which messages of a stream a group gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The routing key, whose meaning is the exchange's.
    pub routing_key: String,
    /// Further arguments, such as `x-match` and headers of a headers exchange.
    pub arguments: BTreeMap<String, BindingValue>,
}

impl Binding {
    /// By a routing key.
    #[must_use]
    pub fn key(routing_key: impl Into<String>) -> Self {
        Self { routing_key: routing_key.into(), arguments: BTreeMap::new() }
    }

    /// Adds an argument. A headers exchange matches text with text only, integers of any size with integers and so on;
    /// headers that this library publishes are text.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<BindingValue>) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }
}

/// The value of an argument of a binding.
///
/// In JSON a string, an integer, `true` or `false`, and `null` for [`Any`](Self::Any).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum BindingValue {
    /// As in `x-match`, and in every header that this library publishes.
    Text(String),
    /// An integer.
    Integer(i64),
    /// True or false.
    Boolean(bool),
    /// Whatever its value is: it matches any message that has the header.
    Any,
}

impl From<&str> for BindingValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for BindingValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for BindingValue {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<bool> for BindingValue {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}
