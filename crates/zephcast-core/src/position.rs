//! Where a message lies, and where a group starts.

use std::fmt;

use crate::{Error, ErrorKind, Result};

/// A part of a stream that is ordered and settled on its own: a partition, a shard, a queue. Numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub u32);

impl UnitId {
    /// Units from this number on are a driver's own, such as those of queues in which messages wait for another attempt.
    /// They are no part of the stream, and of their coming and going nobody is told.
    pub const HELPERS: u32 = 1 << 31;

    /// Whether it is [none of the stream's](Self::HELPERS).
    #[must_use]
    pub const fn is_helper(self) -> bool {
        self.0 >= Self::HELPERS
    }
}

/// One that is [none of the stream's](UnitId::HELPERS) is written with a `~` before it.
impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_helper() {
            true => write!(f, "~{}", self.0 - Self::HELPERS),
            false => self.0.fmt(f),
        }
    }
}

/// A driver's own mark of a message within its unit, in delivery order. Opaque to the engine but for its order.
///
/// Kafka and the embedded broker put the offset into the first part, RabbitMQ the delivery tag, Redis the two numbers of
/// the entry id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64, pub u64);

/// How a broker writes a position. Data of [`Capabilities`](crate::Capabilities).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PositionStyle {
    /// `UNIT:OFFSET`, as `0:42`.
    UnitOffset,
    /// The two numbers of an entry id, as `1763800000000-0`.
    EntryId,
    /// A number that means something to this connection only.
    Tag,
}

/// Where a message lies in its stream. Shown as the broker's users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The unit.
    pub unit: UnitId,
    /// The place within the unit.
    pub token: Token,
    style: PositionStyle,
}

impl Position {
    /// A position as the broker of this style writes it.
    #[must_use]
    pub fn new(style: PositionStyle, unit: UnitId, token: Token) -> Self {
        Self { unit, token, style }
    }

    /// Reads what [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the text is no position of this style.
    pub fn parse(style: PositionStyle, text: &str) -> Result<Self> {
        let parsed = match style {
            PositionStyle::UnitOffset => text
                .split_once(':')
                .and_then(|(unit, offset)| Some((UnitId(unit.parse().ok()?), Token(offset.parse().ok()?, 0)))),
            PositionStyle::EntryId => {
                let (milliseconds, sequence) = text.split_once('-').unwrap_or((text, "0"));
                milliseconds.parse().ok().and_then(|first| Some((UnitId(0), Token(first, sequence.parse().ok()?))))
            }
            PositionStyle::Tag => text.parse().ok().map(|tag| (UnitId(0), Token(tag, 0))),
        };
        match parsed {
            Some((unit, token)) => Ok(Self::new(style, unit, token)),
            None => Err(Error::new(
                ErrorKind::InvalidInput,
                "position",
                format!("{text:?} is no position here; {}", style.example()),
            )),
        }
    }
}

impl PositionStyle {
    fn example(self) -> &'static str {
        match self {
            Self::UnitOffset => "write UNIT:OFFSET, such as 0:42",
            Self::EntryId => "write an entry id, such as 1763800000000-0",
            Self::Tag => "write a number",
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token(first, second) = self.token;
        match self.style {
            PositionStyle::UnitOffset => write!(f, "{}:{first}", self.unit),
            PositionStyle::EntryId => write!(f, "{first}-{second}"),
            PositionStyle::Tag => write!(f, "{first}"),
        }
    }
}

/// Where a group begins that does not exist yet, or goes on when it is
/// [moved](crate::driver::Admin::seek_group). Otherwise an existing group goes on where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the oldest message that is still there. The default, since it loses nothing.
    #[default]
    Earliest,
    /// After the newest message: the group sees what is published from its creation on.
    Latest,
    /// At the first message published at or after this time, in milliseconds since the Unix epoch.
    Time(u64),
    /// At this message.
    Position(Position),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        for (style, text) in [
            (PositionStyle::UnitOffset, "3:42"),
            (PositionStyle::EntryId, "1763800000000-7"),
            (PositionStyle::Tag, "9"),
        ] {
            assert_eq!(Position::parse(style, text).expect(text).to_string(), text);
        }
        for bad in ["", "x", "1:", ":1", "-1", "1-x", "99999999999999999999999"] {
            assert!(Position::parse(PositionStyle::UnitOffset, bad).is_err(), "{bad}");
            assert!(Position::parse(PositionStyle::Tag, bad).is_err(), "{bad}");
        }
    }
}
