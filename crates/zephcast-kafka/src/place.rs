//! Where a group stands in a partition, as the committed offset and its metadata say it.
//!
//! The offset is that of the first record that is not settled. The metadata says what Kafka has no place for, as text
//! that begins with [`MARK`], then Base64 of variable-length numbers; whatever else is there is somebody else's and means
//! nothing to us.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::ranges::Ranges;

/// The longest metadata that a broker takes by default, `offset.metadata.max.bytes`.
pub(crate) const METADATA_BYTES: usize = 4_096;
/// With less than that what may be out would be cut, and nobody would know what may have killed its owner.
pub(crate) const LEAST_METADATA: usize = 256;
/// How our metadata begins: name and version.
const MARK: &str = "zc2:";

/// Where a group stands in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The first record that is not settled: the committed offset.
    pub(crate) next: i64,
    /// What is settled beyond it.
    pub(crate) done: Ranges,
    /// What the owner may hand out; nothing when it gave the partition up in good order. A place that is found with some is
    /// that of an owner that died, and what of it is not settled is a suspect.
    pub(crate) out: Ranges,
    /// How many records the owner had in flight.
    pub(crate) in_flight: u64,
    /// Since when some have been, in milliseconds since the Unix epoch.
    pub(crate) busy_since_ms: Option<u64>,
    /// Since when somebody has been at the one that was begun first, in milliseconds since the Unix epoch.
    pub(crate) oldest_ms: Option<u64>,
    /// How long the owner's lease is, in milliseconds.
    pub(crate) lease_ms: Option<u64>,
    /// Attempts that count, of records that are not settled.
    pub(crate) attempts: BTreeMap<i64, Attempts>,
    /// The id of the topic that it is in, by [`TopicDescription`](crate::native::TopicDescription); 0 if that is not known.
    pub(crate) topic: u64,
}

/// What is known of a record that was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempts {
    pub(crate) count: u32,
    /// When the first of them failed, in milliseconds since the Unix epoch.
    pub(crate) first_failed_ms: Option<u64>,
}

/// Whether these are the ids of different topics; 0 is one that is not known.
pub(crate) fn are_different(topic: u64, other: u64) -> bool {
    topic != 0 && other != 0 && topic != other
}

impl Place {
    /// A place where nothing but the offset is known.
    pub(crate) fn at(next: i64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Whether it is in another topic than this one, of the same name.
    pub(crate) fn is_of_another(&self, topic: u64) -> bool {
        are_different(self.topic, topic)
    }

    /// Reads what was committed.
    pub(crate) fn read(next: i64, metadata: &str) -> Self {
        let ours = metadata.strip_prefix(MARK).and_then(|text| STANDARD_NO_PAD.decode(text).ok());
        ours.and_then(|bytes| Self::decode(next, &bytes)).unwrap_or_else(|| Self::at(next))
    }

    /// Whether this metadata is ours.
    pub(crate) fn is_ours(metadata: &str) -> bool {
        metadata.starts_with(MARK)
    }

    /// How many records before `end` are not settled, where the log begins at `begin`.
    pub(crate) fn unsettled(&self, begin: i64, end: i64) -> u64 {
        let from = self.next.max(begin);
        let above = u64::try_from(end - from).unwrap_or(0);
        above.saturating_sub(self.done.len_within(from, end))
    }

    /// What to commit with the offset, at most `most` bytes: what there is no room for is left out, first of what is settled,
    /// then of the attempts. What is out has half of the room, more than it ever needs but for what went out unnamed.
    pub(crate) fn write(&self, most: usize) -> String {
        let room = room_in(most);
        let mut bytes = Vec::with_capacity(64);
        let (count, out) = within(room / 2, encoded(self.next, self.out.runs()));
        put(&mut bytes, count);
        bytes.extend(out);
        put(&mut bytes, self.in_flight);
        put(&mut bytes, self.busy_since_ms.unwrap_or(0));
        put(&mut bytes, self.oldest_ms.unwrap_or(0));
        put(&mut bytes, self.lease_ms.unwrap_or(0));
        put(&mut bytes, self.topic);
        let (count, runs) = within(room.saturating_sub(bytes.len() + LONGEST), encoded(self.next, self.done.runs()));
        put(&mut bytes, count);
        bytes.extend(runs);
        let (count, attempts) = within(room.saturating_sub(bytes.len() + LONGEST), self.encoded_attempts());
        put(&mut bytes, count);
        bytes.extend(attempts);
        format!("{MARK}{}", STANDARD_NO_PAD.encode(bytes))
    }

    fn encoded_attempts(&self) -> impl Iterator<Item = Vec<u8>> {
        self.attempts.iter().map(|(offset, attempts)| {
            let mut bytes = Vec::new();
            put(&mut bytes, self.distance(*offset));
            put(&mut bytes, attempts.count.into());
            put(&mut bytes, attempts.first_failed_ms.unwrap_or(0));
            bytes
        })
    }

    fn distance(&self, offset: i64) -> u64 {
        u64::try_from(offset - self.next).unwrap_or(0)
    }

    fn decode(next: i64, mut bytes: &[u8]) -> Option<Self> {
        let mut place = Self::at(next);
        let bytes = &mut bytes;
        place.out = decode_runs(next, bytes)?;
        place.in_flight = take(bytes)?;
        place.busy_since_ms = Some(take(bytes)?).filter(|ms| *ms > 0);
        place.oldest_ms = Some(take(bytes)?).filter(|ms| *ms > 0);
        place.lease_ms = Some(take(bytes)?).filter(|ms| *ms > 0);
        place.topic = take(bytes)?;
        place.done = decode_runs(next, bytes)?;
        for _ in 0..take(bytes)? {
            let offset = beyond(next, take(bytes)?)?;
            let count = u32::try_from(take(bytes)?).ok()?;
            let first_failed_ms = Some(take(bytes)?).filter(|ms| *ms > 0);
            place.attempts.insert(offset, Attempts { count, first_failed_ms });
        }
        Some(place)
    }
}

/// How many bytes fit into metadata of this length.
fn room_in(metadata: usize) -> usize {
    metadata.saturating_sub(MARK.len()) / 4 * 3
}

/// How many may be in flight beside what is settled before `until`, so that whatever of them is settled next, there is room to
/// write it: at worst every second one, each with a run of its own. Without suspects, beside which nothing is handed out.
pub(crate) fn room_for_open(metadata: usize, next: i64, done: &Ranges, until: i64) -> usize {
    const RUN: usize = 4;
    let room = room_in(metadata).saturating_sub(10 * LONGEST);
    let before = done.runs().take_while(|(first, _)| *first < until).map(|(first, after)| (first, after.min(until)));
    let settled: usize = encoded(next, before).map(|run| run.len()).sum();
    room.saturating_sub(settled) / (RUN / 2)
}

/// Each run by its distance from the one before, and its length.
fn encoded(next: i64, runs: impl Iterator<Item = (i64, i64)>) -> impl Iterator<Item = Vec<u8>> {
    let mut at = next;
    runs.map(move |(first, after)| {
        let mut bytes = Vec::new();
        put(&mut bytes, (first - at).unsigned_abs());
        put(&mut bytes, (after - first).unsigned_abs());
        at = after;
        bytes
    })
}

fn decode_runs(next: i64, bytes: &mut &[u8]) -> Option<Ranges> {
    let (mut ranges, mut at) = (Ranges::default(), next);
    for _ in 0..take(bytes)? {
        let first = beyond(at, take(bytes)?)?;
        at = beyond(first, take(bytes)?)?;
        ranges.insert_run(first, at);
    }
    Some(ranges)
}

/// The most bytes of one number.
const LONGEST: usize = 10;

/// As many pieces as there is room for, and how many they are.
fn within(room: usize, pieces: impl Iterator<Item = Vec<u8>>) -> (u64, Vec<u8>) {
    let (mut count, mut bytes) = (0, Vec::new());
    for piece in pieces {
        if bytes.len() + piece.len() > room {
            break;
        }
        bytes.extend(piece);
        count += 1;
    }
    (count, bytes)
}

fn beyond(offset: i64, distance: u64) -> Option<i64> {
    offset.checked_add(i64::try_from(distance).ok()?)
}

/// LEB128, as Protocol Buffers write numbers: <https://protobuf.dev/programming-guides/encoding/#varints>.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places() -> impl Strategy<Value = Place> {
        let attempts = prop::collection::btree_map(0_i64..1_000, (1_u32..9, 0_u64..9), 0..4);
        let runs = || prop::collection::vec((1_i64..500, 1_i64..9), 0..20);
        let out = prop::collection::vec((0_i64..50, 1_i64..2_000), 0..4);
        (0_i64..1 << 40, out, 0_u64..3_000, [0_u64..9, 0..9, 0..u64::MAX], attempts, runs()).prop_map(
            |(next, out, in_flight, [oldest, lease, topic], attempts, runs)| {
                let mut place = Place { topic, ..Place::at(next) };
                for (first, length) in out {
                    place.out.insert_run(next + first, next + first + length);
                }
                place.in_flight = in_flight;
                place.oldest_ms = Some(oldest).filter(|ms| *ms > 0);
                place.busy_since_ms = place.oldest_ms.map(|ms| ms + 1);
                place.lease_ms = Some(lease).filter(|ms| *ms > 0);
                for (offset, (count, ms)) in attempts {
                    let first_failed_ms = Some(ms).filter(|ms| *ms > 0);
                    place.attempts.insert(next + offset, Attempts { count, first_failed_ms });
                }
                for (first, length) in runs {
                    place.done.insert_run(next + first, next + first + length);
                }
                place
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(place in places()) {
            prop_assert_eq!(Place::read(place.next, &place.write(4_096)), place);
        }

        #[test]
        fn without_room_only_what_is_settled_is_forgotten(place in places(), most in 130_usize..300) {
            let text = place.write(most);
            prop_assert!(text.len() <= most, "{} bytes of {most}", text.len());
            let read = Place::read(place.next, &text);
            prop_assert_eq!(read.out, place.out);
            for (first, after) in read.done.runs() {
                prop_assert!((first..after).all(|offset| place.done.contains(offset)));
            }
        }

        #[test]
        fn what_is_unsettled_is_counted(place in places(), begin in 0_i64..20, end in 0_i64..900) {
            let (begin, end) = (place.next - 10 + begin, place.next + end);
            let model = (place.next.max(begin)..end).filter(|offset| !place.done.contains(*offset)).count();
            prop_assert_eq!(place.unsettled(begin, end), model as u64);
        }

        #[test]
        fn what_others_wrote_means_nothing(text in "(zc2:)?[A-Za-z0-9+/]{0,40}", next in 0_i64..9) {
            let place = Place::read(next, &text);
            prop_assert_eq!(place.next, next);
            if !text.starts_with(MARK) {
                prop_assert_eq!(place, Place::at(next));
            }
        }
    }
}
