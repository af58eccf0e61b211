//! What the driver writes about a message, in headers of its own that users never see.

use lapin::types::{AMQPValue, ShortString};
use zephcast_core::Token;

use super::text;
use crate::clock::now_ms;

/// Attempts that count, before it came to this queue.
const ATTEMPTS: &str = "zephcast-attempts";
/// The mark of the message in the queue where it was first, as `1-2`.
pub(crate) const ORIGIN: &str = "zephcast-origin";
/// Where it lay, as it is shown of a dead letter.
const ORIGIN_TEXT: &str = "zephcast-origin-text";
/// When it was published.
pub(super) const PUBLISHED: &str = "zephcast-published-ms";
const FIRST_FAILED: &str = "zephcast-first-failed-ms";
const LAST_FAILED: &str = "zephcast-last-failed-ms";
/// When this copy was made.
const COPIED: &str = "zephcast-copied-ms";
/// When it may be handed out again.
const DUE: &str = "zephcast-due-ms";
const REASON: &str = "zephcast-reason";

/// What a message carries beside what its publisher gave it. Times are milliseconds since the Unix epoch, and like
/// everything else absent when not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// Attempts that count.
    pub(crate) attempts: u32,
    pub(crate) origin: Option<Token>,
    /// `None` for a foreign message, whatever its timestamp says.
    pub(crate) published_ms: Option<u64>,
    pub(crate) first_failed_ms: Option<u64>,
    pub(crate) last_failed_ms: Option<u64>,
    /// When it may be handed out again.
    pub(crate) due_ms: Option<u64>,
    pub(crate) reason: Option<String>,
    /// Where a dead letter comes from, for people.
    pub(crate) origin_text: Option<String>,
    /// When this copy was made, which tells it from the one before it.
    pub(crate) copied_ms: Option<u64>,
}

impl Notes {
    /// Those of a copy that is made now.
    pub(crate) fn copied(self) -> Self {
        Self { copied_ms: Some(now_ms()), ..self }
    }

    /// Takes over a header of ours. Of a foreign program, what cannot be read means nothing.
    pub(super) fn read(&mut self, name: &str, value: &AMQPValue) {
        let words = || text::bytes(value).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let number = || text::number(value);
        match name {
            PUBLISHED => self.published_ms = number(),
            ATTEMPTS => self.attempts = number().and_then(|number| number.try_into().ok()).unwrap_or_default(),
            ORIGIN => self.origin = words().and_then(parse_token),
            ORIGIN_TEXT => self.origin_text = words().map(str::to_owned),
            FIRST_FAILED => self.first_failed_ms = number(),
            LAST_FAILED => self.last_failed_ms = number(),
            DUE => self.due_ms = number(),
            COPIED => self.copied_ms = number(),
            REASON => self.reason = words().map(str::to_owned),
            _ => {}
        }
    }

    /// The headers in which they travel; none for what is not known.
    pub(super) fn headers(&self) -> impl Iterator<Item = (ShortString, AMQPValue)> {
        let words = |words: &String| AMQPValue::LongString(words.as_bytes().into());
        let origin = self.origin.map(|Token(first, second)| AMQPValue::LongString(format!("{first}-{second}").into()));
        let all = [
            (ATTEMPTS, Some(self.attempts).filter(|attempts| *attempts > 0).map(|attempts| number(attempts.into()))),
            (ORIGIN, origin),
            (ORIGIN_TEXT, self.origin_text.as_ref().map(words)),
            (PUBLISHED, self.published_ms.map(number)),
            (FIRST_FAILED, self.first_failed_ms.map(number)),
            (LAST_FAILED, self.last_failed_ms.map(number)),
            (DUE, self.due_ms.map(number)),
            (COPIED, self.copied_ms.map(number)),
            (REASON, self.reason.as_ref().map(words)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.into(), value?)))
    }
}

/// As AMQP carries it: without the highest bit.
pub(super) fn number(number: u64) -> AMQPValue {
    AMQPValue::LongLongInt(number.try_into().unwrap_or(i64::MAX))
}

fn parse_token(text: &str) -> Option<Token> {
    let (first, second) = text.split_once('-')?;
    Some(Token(first.parse().ok()?, second.parse().ok()?))
}
