//! What members write down about messages that may come again.
//!
//! The broker says of a message that it was delivered before, and not whether its member died of it or left in good order.
//! So a member that gives messages back, or that lost its connection and lives, says which ones they are. What comes again
//! and is not said to be innocent is a suspect. A hint that is lost makes a suspect more, but where members went of late.
//!
//! What was on its way to a member that leaves, or whose connection breaks, comes again as well, and the member cannot say
//! which ones that are. So it says that there may be some: for a minute, each such member excuses one delivery more than is
//! known of a message, however often it says so. Whoever did kill members meanwhile kills as many more before it is a
//! suspect.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use crate::error::error;
use zephcast_core::{ErrorKind, Result};

/// Tells messages of a group apart, over processes and versions of this library, and a copy from the one before it, since the
/// broker counts anew. By the [`fingerprint`] of the id, else of the beginning of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark(u64);

impl Mark {
    /// How much of a payload is looked at.
    const ENOUGH: usize = 256;

    pub(crate) fn of(id: Option<&[u8]>, payload: &[u8], copied_ms: Option<u64>) -> Self {
        let seen = id.unwrap_or(&payload[..payload.len().min(Self::ENOUGH)]);
        let (length, copied) = ((payload.len() as u64).to_be_bytes(), copied_ms.unwrap_or(0).to_be_bytes());
        Self(fingerprint([seen, &length, &copied]))
    }

    /// The same message among the suspects, whose queue counts deliveries of its own.
    pub(crate) fn as_suspect(self) -> Self {
        Self(fingerprint([&b"suspect"[..], &self.0.to_be_bytes()]))
    }
}

/// FNV-1a of 64 bits (RFC 9923): the same in every process and version.
pub(crate) fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    parts
        .into_iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// What is known of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) mark: Mark,
    /// How often it will have been delivered before, by the broker's count, when it comes again.
    pub(crate) count: u64,
    /// How many attempts count so far.
    pub(crate) attempts: u32,
    /// Whether it comes from a member that lived.
    pub(crate) is_innocent: bool,
}

impl Hint {
    /// The same, of a member that lives.
    pub(crate) fn innocent(self) -> Self {
        Self { is_innocent: true, ..self }
    }
}

/// What was written down about a group's messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hints {
    known: HashMap<Mark, Hint>,
    /// Consumers that went of late, to which messages may have been on their way.
    pardons: HashSet<Pardon>,
}

/// Names a consumer to which messages may have been on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pardon(u64);

impl Pardon {
    /// Of a new consumer.
    pub(crate) fn new() -> Self {
        Self(fastrand::u64(..))
    }
}

/// How long a pardon holds, and by how much clocks may differ.
const PARDON: Duration = Duration::from_secs(60);

/// After how long the broker may forget a pardon.
pub(crate) const PARDON_KEPT: Duration = Duration::from_secs(2 * PARDON.as_secs());

impl Hints {
    pub(crate) fn add(&mut self, hint: Hint) {
        // Of two the one about the later delivery counts.
        let known = self.known.entry(hint.mark).or_insert(hint);
        if hint.count >= known.count {
            *known = hint;
        }
    }

    pub(crate) fn add_pardon(&mut self, pardon: Pardon) {
        self.pardons.insert(pardon);
    }

    /// All of these too.
    pub(crate) fn extend(&mut self, others: Self) {
        others.known.into_values().for_each(|hint| self.add(hint));
        self.pardons.extend(others.pardons);
    }

    pub(crate) fn known(&self) -> impl Iterator<Item = &Hint> {
        self.known.values()
    }

    pub(crate) fn forget_known(&mut self) {
        self.known.clear();
    }

    pub(crate) fn pardons(&self) -> impl Iterator<Item = &Pardon> {
        self.pardons.iter()
    }

    pub(crate) fn forget_pardons(&mut self) {
        self.pardons.clear();
    }

    /// How many attempts count of a message that comes from a member that lived; `None` when nobody said so.
    pub(crate) fn innocent(&self, mark: Mark, count: Option<u64>) -> Option<u32> {
        let hint = self.known.get(&mark).filter(|hint| hint.is_innocent && Some(hint.count) == count)?;
        Some(hint.attempts)
    }

    /// How many attempts count of a suspect that was delivered so often before: what came after the last word of a member that
    /// lived are deaths.
    pub(crate) fn of_suspect(&self, mark: Mark, count: u64) -> Option<u32> {
        let hint = self.known.get(&mark).filter(|hint| hint.is_innocent)?;
        let deaths = count.checked_sub(hint.count)?;
        Some(hint.attempts.saturating_add(u32::try_from(deaths).unwrap_or(u32::MAX)))
    }

    /// How many attempts count of a message that may have been on its way to members that went; `None` when it was not.
    pub(crate) fn pardoned(&self, mark: Mark, count: Option<u64>) -> Option<u32> {
        let (known, attempts) = match self.known.get(&mark) {
            Some(hint) if !hint.is_innocent => return None,
            Some(hint) => (hint.count, hint.attempts),
            None => (0, 0),
        };
        (1..=self.pardons.len() as u64).contains(&count?.checked_sub(known)?).then_some(attempts)
    }

    /// Of how many deliveries of a message something is known.
    pub(crate) fn count(&self, mark: Mark) -> Option<u64> {
        self.known.get(&mark).map(|hint| hint.count)
    }

    /// How many attempts are known to count of a message, whoever held it last.
    pub(crate) fn attempts(&self, mark: Mark) -> Option<u32> {
        self.known.get(&mark).map(|hint| hint.attempts)
    }

    /// Reads what [`write()`] and [`write_pardons`] wrote, at this time of day.
    ///
    /// # Errors
    /// `Broker` when it is something else.
    pub(crate) fn read(&mut self, payload: &[u8], now_ms: u64) -> Result<()> {
        let text = std::str::from_utf8(payload).unwrap_or_default();
        for line in text.lines() {
            if let Some((pardon, then_ms)) = parse_pardon(line) {
                if u128::from(then_ms.abs_diff(now_ms)) <= PARDON.as_millis() {
                    self.pardons.insert(pardon);
                }
                continue;
            }
            let hint = parse(line).ok_or_else(|| error(ErrorKind::Broker, "read hints", "a line is no hint"))?;
            self.add(hint);
        }
        Ok(())
    }
}

/// One line for each hint.
pub(crate) fn write<'a>(hints: impl IntoIterator<Item = &'a Hint>) -> String {
    use fmt::Write as _;
    let mut text = String::new();
    for Hint { mark, count, attempts, is_innocent } in hints {
        let state = if *is_innocent { "innocent" } else { "kept" };
        // Writing to a string never fails.
        let _ = writeln!(text, "{:016x} {count} {attempts} {state}", mark.0);
    }
    text
}

/// Says that messages may have been on their way to consumers that are gone by now.
pub(crate) fn write_pardons<'a>(pardons: impl IntoIterator<Item = &'a Pardon>, now_ms: u64) -> String {
    pardons.into_iter().map(|Pardon(consumer)| format!("pardon {consumer:016x} {now_ms}\n")).collect()
}

/// Which pardon it is, and when it was written.
fn parse_pardon(line: &str) -> Option<(Pardon, u64)> {
    let (consumer, then_ms) = line.strip_prefix("pardon ")?.split_once(' ')?;
    Some((Pardon(u64::from_str_radix(consumer, 16).ok()?), then_ms.parse().ok()?))
}

fn parse(line: &str) -> Option<Hint> {
    let mut words = line.split(' ');
    let mark = Mark(u64::from_str_radix(words.next()?, 16).ok()?);
    let (count, attempts) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let is_innocent = match words.next()? {
        "innocent" => true,
        "kept" => false,
        _ => return None,
    };
    Some(Hint { mark, count, attempts, is_innocent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(id: &[u8], count: u64, attempts: u32, is_innocent: bool) -> Hint {
        Hint { mark: Mark::of(Some(id), b"", None), count, attempts, is_innocent }
    }

    #[test]
    fn a_message_is_innocent_of_one_delivery_only() {
        let mut hints = Hints::default();
        let of_a = hint(b"a", 2, 1, true);
        hints.add(of_a);
        assert_eq!(hints.innocent(of_a.mark, Some(2)), Some(1));
        assert_eq!(hints.innocent(of_a.mark, Some(3)), None, "whoever had it after that died");
        assert_eq!(hints.innocent(of_a.mark, None), None, "the broker does not count");
        assert_eq!(hints.innocent(Mark::of(Some(b"b"), b"", None), Some(2)), None);
        assert_eq!(hints.attempts(of_a.mark), Some(1));
    }

    #[test]
    fn a_suspect_is_innocent_of_what_came_before_the_last_word() {
        let mut hints = Hints::default();
        let known = hint(b"a", 3, 1, true);
        hints.add(known);
        let count = |count| hints.of_suspect(known.mark, count);
        assert_eq!((count(2), count(3), count(5)), (None, Some(1), Some(3)));
        assert_eq!(hints.of_suspect(known.mark.as_suspect(), 3), None, "of another queue");
    }

    #[test]
    fn the_later_word_counts() {
        let mut hints = Hints::default();
        let mark = Mark::of(Some(b"a"), b"", None);
        hints.add(hint(b"a", 3, 2, false));
        hints.add(hint(b"a", 1, 0, true));
        assert_eq!((hints.attempts(mark), hints.innocent(mark, Some(3))), (Some(2), None));
    }

    #[test]
    fn hints_are_read_as_they_are_written() {
        let written = [hint(b"a", 2, 1, true), hint(b"b", 0, 7, false)];
        let mut hints = Hints::default();
        hints.read(write(&written).as_bytes(), 0).expect("they are hints");
        assert!(written.iter().all(|hint| hints.known.get(&hint.mark) == Some(hint)));
        for bad in ["x", "0 1 2", "0 1 2 guilty", "g 1 2 kept", "pardon 1", "pardon g 1"] {
            assert!(hints.read(bad.as_bytes(), 0).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_member_that_went_excuses_one_delivery_for_a_while() {
        let known = hint(b"a", 2, 1, true);
        let (unknown, kept) = (Mark::of(Some(b"b"), b"", None), Mark::of(Some(b"kept"), b"", None));
        let after = |mark, count, gone_for: &[u64]| {
            let mut hints = Hints::default();
            hints.add(known);
            hints.add(hint(b"kept", 2, 1, false));
            let now_ms = 1_000_000;
            for (consumer, seconds) in (0..).zip(gone_for) {
                let said = write_pardons(&[Pardon(consumer)], now_ms - seconds * 1_000);
                // It may not know that it is written already.
                hints.read(said.repeat(2).as_bytes(), now_ms).expect("is a hint");
            }
            hints.pardoned(mark, count)
        };
        assert_eq!(after(unknown, Some(1), &[]), None, "nobody went");
        assert_eq!((after(unknown, Some(1), &[59]), after(unknown, Some(1), &[61])), (Some(0), None));
        assert_eq!((after(unknown, Some(2), &[0]), after(unknown, None, &[0])), (None, None));
        assert_eq!((after(unknown, Some(2), &[0, 1]), after(unknown, Some(3), &[0, 1])), (Some(0), None));
        assert_eq!((after(known.mark, Some(3), &[0]), after(known.mark, Some(4), &[0])), (Some(1), None));
        assert_eq!(after(known.mark, Some(4), &[0, 1]), Some(1));
        assert_eq!(after(kept, Some(3), &[0, 1]), None, "it was being worked on");
    }

    #[test]
    fn a_mark_is_the_same_in_every_version() {
        assert_eq!(Mark::of(Some(b"foobar"), b"", None), Mark(0x4709_0cc8_e559_21e8));
        assert_ne!(Mark::of(None, b"a", None), Mark::of(None, b"aa", None));
        assert_ne!(Mark::of(None, b"a", None), Mark::of(None, b"a", Some(1)), "a copy");
    }
}
