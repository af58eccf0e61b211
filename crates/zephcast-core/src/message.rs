//! What is published and delivered.

use std::fmt;

use bytes::Bytes;

use crate::{Error, ErrorKind, Headers, Position, Result, headers::RESERVED_PREFIX};

/// Identifies a message across retries of its publish and across redeliveries. Chosen by the publisher.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Bytes);

impl MessageId {
    /// An id of the caller's choice. It travels with the message and is not interpreted.
    pub fn new(id: impl Into<Bytes>) -> Self {
        Self(id.into())
    }

    /// The id's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// A message: payload, optional key, headers, id. Bytes travel unchanged; there is no envelope.
///
/// ```
/// use zephcast_core::Message;
///
/// let message = Message::new("hello").with_key("customer-7").with_header("source", "web");
/// assert_eq!(message.payload(), "hello");
/// assert_eq!(message.key().unwrap(), "customer-7");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    payload: Option<Bytes>,
    key: Option<Bytes>,
    headers: Headers,
    id: Option<MessageId>,
}

impl Message {
    /// A message with this payload, which may be empty.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: Some(payload.into()), ..Self::default() }
    }

    /// A message without a payload (null, which is not the same as empty): a tombstone on Kafka.
    #[must_use]
    pub fn without_payload() -> Self {
        Self::default()
    }

    /// Sets the key. Messages of one key keep their order where the broker keeps order by key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header at the end.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Replaces all headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the id. Without one the publisher makes a unique one.
    #[must_use]
    pub fn with_id(mut self, id: MessageId) -> Self {
        self.id = Some(id);
        self
    }

    /// The payload; empty when it is absent (see [`has_payload`](Self::has_payload)).
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        static EMPTY: Bytes = Bytes::new();
        self.payload.as_ref().unwrap_or(&EMPTY)
    }

    /// Whether there is a payload, be it empty; `false` for null.
    #[must_use]
    pub fn has_payload(&self) -> bool {
        self.payload.is_some()
    }

    /// The payload as text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is not UTF-8; the bytes stay reachable by [`payload`](Self::payload).
    pub fn payload_str(&self) -> Result<&str> {
        std::str::from_utf8(self.payload())
            .map_err(|error| Error::new(ErrorKind::InvalidInput, "decode", "the payload is not UTF-8").caused_by(error))
    }

    /// The key, if there is one.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The headers, to change them.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// The id; a foreign message may have none.
    #[must_use]
    pub fn id(&self) -> Option<&MessageId> {
        self.id.as_ref()
    }

    /// The size of payload, key and headers in bytes: what limits and windows count.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.payload().len() + self.key.as_ref().map_or(0, Bytes::len) + self.headers.byte_len()
    }

    /// Refuses headers whose names are zephcast's own, so that nobody can forge what zephcast says of a message.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the header.
    pub fn check_reserved(&self) -> Result<()> {
        match self.headers.iter().find(|(name, _)| name.starts_with(RESERVED_PREFIX.as_bytes())) {
            Some((name, _)) => Err(Error::new(
                ErrorKind::InvalidInput,
                "publish",
                format!("the header {:?} begins with the reserved `{RESERVED_PREFIX}`", String::from_utf8_lossy(name)),
            )),
            None => Ok(()),
        }
    }

    /// A message of these parts. The opposite of [`into_parts`](Self::into_parts).
    #[must_use]
    pub fn from_parts(payload: Option<Bytes>, key: Option<Bytes>, headers: Headers, id: Option<MessageId>) -> Self {
        Self { payload, key, headers, id }
    }

    /// The parts: payload, key, headers, id.
    #[must_use]
    pub fn into_parts(self) -> (Option<Bytes>, Option<Bytes>, Headers, Option<MessageId>) {
        (self.payload, self.key, self.headers, self.id)
    }
}

impl From<&'static str> for Message {
    fn from(payload: &'static str) -> Self {
        Self::new(payload)
    }
}

impl From<String> for Message {
    fn from(payload: String) -> Self {
        Self::new(payload)
    }
}

impl From<Vec<u8>> for Message {
    fn from(payload: Vec<u8>) -> Self {
        Self::new(payload)
    }
}

impl From<Bytes> for Message {
    fn from(payload: Bytes) -> Self {
        Self::new(payload)
    }
}

/// Shows sizes, never the payload.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("payload_bytes", &self.payload.as_ref().map(Bytes::len))
            .field("key_bytes", &self.key.as_ref().map(Bytes::len))
            .field("headers", &self.headers)
            .finish()
    }
}

/// The broker's word that a message is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The message's id: the caller's, or the one that the publisher made.
    pub id: MessageId,
    /// Where it is stored; `None` where the broker does not say (RabbitMQ).
    pub position: Option<Position>,
}

/// Makes ids that no other publisher makes: a random prefix and a counter.
#[derive(Debug)]
pub(crate) struct IdSource {
    prefix: String,
    next_hundred: u64,
    /// The next ids, one after another: a hundred share an allocation, and a kept one keeps its neighbours in memory.
    written: Bytes,
    length: usize,
}

impl IdSource {
    pub(crate) fn new() -> Self {
        Self { prefix: format!("{:016x}-", fastrand::u64(..)), next_hundred: 0, written: Bytes::new(), length: 0 }
    }

    /// Gives the message an id if it has none, and returns the id.
    pub(crate) fn assign(&mut self, message: &mut Message) -> MessageId {
        message.id.get_or_insert_with(|| MessageId(self.make())).clone()
    }

    fn make(&mut self) -> Bytes {
        if self.written.is_empty() {
            self.write_hundred();
        }
        self.written.split_to(self.length)
    }

    fn write_hundred(&mut self) {
        let stem = format!("{}{}", self.prefix, self.next_hundred);
        self.next_hundred += 1;
        self.length = stem.len() + 2;
        let mut ids = Vec::with_capacity(100 * self.length);
        for tens in b'0'..=b'9' {
            for ones in b'0'..=b'9' {
                ids.extend_from_slice(stem.as_bytes());
                ids.extend_from_slice(&[tens, ones]);
            }
        }
        self.written = ids.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_and_one_of_the_caller_stays() {
        let mut source = IdSource::new();
        let prefix = source.prefix.clone();
        for number in 0..12_345 {
            assert_eq!(source.assign(&mut Message::new("")).to_string(), format!("{prefix}{number:03}"));
        }
        let mut own = Message::new("").with_id(MessageId::new("mine"));
        assert_eq!(source.assign(&mut own), MessageId::new("mine"));
    }
}
