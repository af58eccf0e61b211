//! Messages as records of a topic: payload, key and headers are Kafka's own, the id is in a reserved header. No envelope,
//! so that plain clients read what is written here and what they write is read here.

use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode as Code;
use zephcast_core::{Headers, Message, MessageId, Position, PositionStyle, RESERVED_PREFIX, Result, Token, UnitId};

use crate::error::invalid;
use crate::native::producer::{RawHeaders, Record};

const ID: &[u8] = b"zephcast-id";
/// Where a message lies in its stream, while it lies in a helper topic: `UNIT:OFFSET`, or `STREAM@UNIT:OFFSET` of a dead
/// letter.
const ORIGIN: &str = "zephcast-origin";
/// Attempts that count, before it came to the helper topic.
const ATTEMPTS: &str = "zephcast-attempts";
const FIRST_FAILED: &str = "zephcast-first-failed-ms";
const LAST_FAILED: &str = "zephcast-last-failed-ms";
const REASON: &str = "zephcast-reason";
/// When it was published.
const PUBLISHED: &str = "zephcast-published-ms";
/// When it may be handed out again.
const DUE: &str = "zephcast-due-ms";

/// What helper topics carry beside a message. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// Attempts that count.
    pub(crate) attempts: u32,
    /// Where it lies in its stream.
    pub(crate) origin: Option<(UnitId, Token)>,
    pub(crate) published_ms: Option<u64>,
    pub(crate) first_failed_ms: Option<u64>,
    pub(crate) last_failed_ms: Option<u64>,
    pub(crate) reason: Option<String>,
    /// The origin of a dead letter, `STREAM@UNIT:OFFSET`.
    pub(crate) origin_text: Option<String>,
    /// When it may be handed out again.
    pub(crate) due_ms: Option<u64>,
}

/// Takes a record apart.
pub(crate) fn decode(payload: Option<Bytes>, key: Option<Bytes>, headers: &Headers) -> (Message, Notes) {
    let headers = headers.iter().map(|(name, value)| (&name[..], value.map(|value| &value[..])));
    take_apart(payload, key, headers, Bytes::copy_from_slice)
}

/// Takes a record apart; `keep` makes bytes that outlive its headers. Never fails on what a foreign program wrote: of ours,
/// what cannot be read means nothing.
pub(crate) fn take_apart<'a>(
    payload: Option<Bytes>,
    key: Option<Bytes>,
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    mut keep: impl FnMut(&[u8]) -> Bytes,
) -> (Message, Notes) {
    let (mut notes, mut own, mut id) = (Notes::default(), Headers::new(), None);
    for (name, value) in headers {
        match (is_reserved(name), value) {
            (false, Some(value)) => own.append(keep(name), keep(value)),
            (false, None) => own.append_null(keep(name)),
            (true, Some(value)) if name != ID => notes.read(name, value),
            (true, Some(value)) if id.is_none() => id = Some(MessageId::new(keep(value))),
            (true, _) => {}
        }
    }
    (Message::from_parts(payload, key, own, id), notes)
}

/// Whether a header's name is zephcast's own, so that it is not kept.
fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(RESERVED_PREFIX.as_bytes())
}

impl Notes {
    fn read(&mut self, name: &[u8], value: &[u8]) {
        let (Ok(name), Ok(text)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else { return };
        let number = || text.parse::<u64>().ok();
        match name {
            ATTEMPTS => self.attempts = text.parse().unwrap_or_default(),
            ORIGIN if text.contains('@') => self.origin_text = Some(text.to_owned()),
            ORIGIN => {
                let position = Position::parse(PositionStyle::UnitOffset, text).ok();
                self.origin = position.map(|position| (position.unit, position.token));
            }
            PUBLISHED => self.published_ms = number(),
            FIRST_FAILED => self.first_failed_ms = number(),
            LAST_FAILED => self.last_failed_ms = number(),
            REASON => self.reason = Some(text.to_owned()),
            DUE => self.due_ms = number(),
            _ => {}
        }
    }

    /// The headers in which they travel; none for what is not known.
    fn write(&self) -> Vec<(&'static str, Bytes)> {
        let number = |number: u64| Bytes::from(number.to_string());
        let text = |text: &String| Bytes::copy_from_slice(text.as_bytes());
        let position = |(unit, token)| Bytes::from(Position::new(PositionStyle::UnitOffset, unit, token).to_string());
        let all = [
            (ATTEMPTS, Some(self.attempts).filter(|attempts| *attempts > 0).map(|attempts| number(attempts.into()))),
            (ORIGIN, self.origin.map(position)),
            (ORIGIN, self.origin_text.as_ref().map(text)),
            (PUBLISHED, self.published_ms.map(number)),
            (FIRST_FAILED, self.first_failed_ms.map(number)),
            (LAST_FAILED, self.last_failed_ms.map(number)),
            (REASON, self.reason.as_ref().map(text)),
            (DUE, self.due_ms.map(number)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// A message to be produced, with what is noted of it.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    message: Message,
    notes: Vec<(&'static str, Bytes)>,
}

impl Outgoing {
    /// # Errors
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) for what Kafka cannot carry.
    pub(crate) fn new(message: &Message, notes: &Notes) -> Result<Self> {
        if message.headers().iter().any(|(name, _)| name.contains(&0)) {
            return Err(invalid("publish", UNNAMEABLE));
        }
        Ok(Self { message: message.clone(), notes: notes.write() })
    }

    pub(crate) fn written(&self) -> Written<'_> {
        Written { message: &self.message, notes: &self.notes }
    }
}

/// Why the one thing that a record cannot carry is refused.
pub(crate) const UNNAMEABLE: &str = "the name of a header has a zero byte";

/// What is written of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    message: &'a Message,
    notes: &'a [(&'static str, Bytes)],
}

impl<'a> Written<'a> {
    pub(crate) fn of(message: &'a Message) -> Self {
        Self { message, notes: &[] }
    }

    /// About how much memory it takes until its report.
    pub(crate) fn size(&self) -> usize {
        /// What the library keeps beside the bytes.
        const RECORD: usize = 256;
        self.message.byte_len() + RECORD
    }

    /// # Errors
    /// [`Code::InvalidArgument`] for [what a record cannot carry](UNNAMEABLE).
    pub(crate) fn record(&self, partition: Option<i32>) -> Result<Record<'a>, Code> {
        let payload = self.message.has_payload().then(|| &self.message.payload()[..]);
        let key = self.message.key().map(|key| &key[..]);
        Ok(Record { partition, payload, key, headers: self.raw_headers()? })
    }

    fn raw_headers(&self) -> Result<Option<RawHeaders>, Code> {
        let count = self.headers().count();
        if count == 0 {
            return Ok(None);
        }
        let mut raw = RawHeaders::with_room(count).ok_or(Code::QueueFull)?;
        for (name, value) in self.headers() {
            raw.add(name, value)?;
        }
        Ok(Some(raw))
    }

    /// The message's own in their order, then ours.
    fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let own = self.message.headers().iter().map(|(name, value)| (&name[..], value.map(|value| &value[..])));
        let id = self.message.id().map(|id| (ID, Some(&id.as_bytes()[..])));
        let notes = self.notes.iter().map(|(name, value)| (name.as_bytes(), Some(&value[..])));
        own.chain(id).chain(notes)
    }
}

#[cfg(test)]
mod tests;
