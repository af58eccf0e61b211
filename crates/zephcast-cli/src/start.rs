//! Where a new group starts, or one that exists is moved to.

use jiff::Timestamp;
use zephcast::{Capabilities, Position, Start};

use crate::exit::Failure;

/// Refuses at once what no broker could understand. `option` is what it was given with.
pub(crate) fn check(option: &str, text: &str) -> Result<(), Failure> {
    let position = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '-'));
    match text {
        "earliest" | "latest" => Ok(()),
        _ if position || time(text).is_some() => Ok(()),
        _ => Err(bad(option, text)),
    }
}

/// Reads it as this broker writes positions.
pub(crate) fn parse(option: &str, text: &str, capabilities: &Capabilities) -> Result<Start, Failure> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => match Position::parse(capabilities.positions, text) {
            Ok(position) => Ok(Start::Position(position)),
            Err(error) => time(text).map(Start::Time).ok_or_else(|| bad(option, text).advise(error.message())),
        },
    }
}

/// Milliseconds since the Unix epoch of a time as RFC 3339 writes it.
fn time(text: &str) -> Option<u64> {
    text.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok())
}

fn bad(option: &str, text: &str) -> Failure {
    Failure::usage(format!("{option} {text:?} is no start"))
        .advise("earliest, latest, a time such as 2025-11-22T18:00:00Z, or a position as `consume` prints it")
}

#[cfg(test)]
mod tests {
    use zephcast::{Broker, PositionStyle, Token, UnitId};

    use super::*;

    #[test]
    fn reads_words_times_and_positions() {
        let mut redis = Capabilities::least(Broker::Redis);
        redis.positions = PositionStyle::EntryId;
        let position = Position::new(PositionStyle::EntryId, UnitId(0), Token(1_763_800_000_000, 7));
        for (text, start) in [
            ("earliest", Start::Earliest),
            ("latest", Start::Latest),
            ("1763800000000-7", Start::Position(position)),
            ("1970-01-01T00:00:02.5Z", Start::Time(2_500)),
            ("1970-01-01T01:00:00+01:00", Start::Time(0)),
        ] {
            check("--from", text).expect(text);
            assert_eq!(parse("--from", text, &redis).expect(text), start);
        }
    }

    #[test]
    fn refuses_the_rest() {
        let least = Capabilities::least(Broker::Memory);
        for text in ["", "first", "2025-11-22", "2025-11-22T18:00:00", "1969-12-31T23:59:59Z", "1-x"] {
            assert!(parse("--from", text, &least).is_err(), "{text}");
        }
        assert!(check("--to", "first").is_err());
        assert!(parse("--to", "0:1", &least).is_err(), "another broker's position");
    }
}
