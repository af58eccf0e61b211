//! The topics of a stream and of a group, and their numbers at the seam.

use std::time::Duration;

use zephcast_core::{GroupName, NameRules, StreamName, UnitId};

/// The rule for a stream's name: what Kafka allows for a topic, with room for the names of helper topics.
pub(crate) const NAMES: NameRules = NameRules {
    max_bytes: 200,
    stream: |name| match name.bytes().all(is_legal) {
        true => Ok(()),
        false => Err("may contain letters a-z and A-Z, digits, `.`, `_` and `-` only"),
    },
};

fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// How long a message that comes later has to wait at least: each class has a topic of its own, so that none waits behind
/// one that waits much longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Delay(usize);

/// The classes: how a topic's name ends, and the least delay in it.
const CLASSES: [(&str, Duration); 9] = [
    ("retry-now", Duration::ZERO),
    ("retry-1s", Duration::from_secs(1)),
    ("retry-10s", Duration::from_secs(10)),
    ("retry-1m", Duration::from_secs(60)),
    ("retry-10m", Duration::from_secs(600)),
    ("retry-1h", Duration::from_secs(3_600)),
    ("retry-10h", Duration::from_secs(36_000)),
    ("retry-4d", Duration::from_secs(345_600)),
    ("retry-40d", Duration::from_secs(3_456_000)),
];

impl Delay {
    pub(crate) const NOW: Self = Self(0);

    /// The class of a delay.
    pub(crate) fn of(delay: Duration) -> Self {
        Self(CLASSES.iter().rposition(|(_, least)| delay >= *least).unwrap_or(0))
    }
}

/// The topics of one group of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    /// The stream itself.
    pub(crate) stream: String,
    /// The group's id at the broker.
    pub(crate) group: String,
    /// What the group gave up.
    pub(crate) dead: String,
    /// By class: what comes back to this group alone.
    retries: Vec<String>,
}

/// Bits of a unit's number that are the partition; those above are the topic.
const PARTITION_BITS: u32 = 24;
/// The topics that are no stream have numbers from here on.
const RETRIES: u32 = UnitId::HELPERS >> PARTITION_BITS;

impl Topics {
    pub(crate) fn new(stream: &StreamName, group: &GroupName, id: String) -> Self {
        let prefix = format!("{stream}.{}", escaped(group.as_str()));
        Self {
            stream: stream.as_str().to_owned(),
            group: id,
            dead: format!("{prefix}.dead"),
            retries: CLASSES.iter().map(|(class, _)| format!("{prefix}.{class}")).collect(),
        }
    }

    /// The topic of a delay class.
    pub(crate) fn retry(&self, delay: Delay) -> &str {
        &self.retries[delay.0]
    }

    /// The stream, and every helper topic that there may be.
    pub(crate) fn all(&self) -> Vec<&str> {
        [self.stream.as_str(), &self.dead].into_iter().chain(self.retries()).collect()
    }

    pub(crate) fn retries(&self) -> Vec<&str> {
        self.retries.iter().map(String::as_str).collect()
    }

    /// The unit of a partition; those of retry topics come after all of the stream's.
    pub(crate) fn unit(&self, topic: &str, partition: i32) -> Option<UnitId> {
        let partition = u32::try_from(partition).ok().filter(|partition| *partition < 1 << PARTITION_BITS)?;
        let number = match topic == self.stream {
            true => 0,
            false => RETRIES | u32::try_from(self.retries.iter().position(|retry| retry == topic)?).ok()?,
        };
        Some(UnitId(number << PARTITION_BITS | partition))
    }

    /// Topic and partition of a unit.
    pub(crate) fn partition(&self, unit: UnitId) -> Option<(&str, i32)> {
        let partition = (unit.0 & ((1 << PARTITION_BITS) - 1)).cast_signed();
        match unit.is_helper() {
            false => Some((&self.stream, partition)),
            true => Some((self.retries.get((unit.0 >> PARTITION_BITS & !RETRIES) as usize)?, partition)),
        }
    }
}

/// Whether a topic is a helper of one of these streams.
pub(crate) fn is_helper(topic: &str, is_stream: impl Fn(&str) -> bool) -> bool {
    let Some((of_group, kind)) = topic.rsplit_once('.') else { return false };
    let is_kind = kind == "dead" || CLASSES.iter().any(|(class, _)| *class == kind);
    is_kind && of_group.rsplit_once('.').is_some_and(|(stream, _)| is_stream(stream))
}

/// A name as one part of a topic's, with which no other name shares it: a dot, what a topic may not have, and a `_` that
/// would be read so, are `_x` and two hexadecimal digits a byte.
pub(crate) fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let is_mark = byte == b'_' && name.as_bytes().get(at + 1) == Some(&b'x');
        match is_legal(byte) && byte != b'.' && !is_mark {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("_x{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn topics() -> Topics {
        Topics::new(&StreamName::new("orders").unwrap(), &GroupName::new("bílling").unwrap(), "g".into())
    }

    #[test]
    fn helper_topics_have_legal_names() {
        let topics = topics();
        assert_eq!(topics.dead, "orders.b_xC3_xADlling.dead");
        assert_eq!(topics.retry(Delay::of(Duration::from_secs(12))), "orders.b_xC3_xADlling.retry-10s");
        assert_eq!(topics.retry(Delay::NOW), "orders.b_xC3_xADlling.retry-now");
    }

    #[test]
    fn no_two_groups_share_their_helper_topics() {
        let dead = |stream, group| {
            Topics::new(&StreamName::new(stream).unwrap(), &GroupName::new(group).unwrap(), "g".into()).dead
        };
        assert_eq!(dead("a.x", "y"), "a.x.y.dead");
        let groups = [("a", "x.y"), ("a.x", "y"), ("a", "b\u{ed}"), ("a", "b_xC3_xAD"), ("a", "_"), ("a", "_x5F")];
        let names: BTreeSet<_> = groups.map(|(stream, group)| dead(stream, group)).into();
        assert_eq!(names.len(), groups.len(), "{names:?}");
    }

    #[test]
    fn a_unit_leads_back_to_its_partition() {
        let topics = topics();
        for (topic, partition) in
            [("orders", 0), ("orders", 41), (topics.retry(Delay::NOW), 3), (topics.retry(Delay(6)), 0)]
        {
            let unit = topics.unit(topic, partition).unwrap();
            assert_eq!(topics.partition(unit), Some((topic, partition)));
            assert_eq!(unit.is_helper(), topic != "orders");
        }
        assert_eq!(topics.unit("payments", 0), None);
        assert_eq!(topics.partition(UnitId((RETRIES | 100) << PARTITION_BITS)), None);
    }

    #[test]
    fn a_delay_waits_in_the_longest_class_that_is_not_longer() {
        let class = |ms| CLASSES[Delay::of(Duration::from_millis(ms)).0].0;
        assert_eq!(
            [class(0), class(999), class(1_000), class(59_999)],
            ["retry-now", "retry-now", "retry-1s", "retry-10s"]
        );
        assert_eq!(class(u64::MAX), "retry-40d");
    }

    #[test]
    fn helpers_are_told_from_streams() {
        let is_stream = |name: &str| name == "orders" || name == "a.b";
        assert!(!is_helper("orders.eu.billing.dead", is_stream), "of the stream orders.eu");
        assert!(is_helper("orders.billing.dead", is_stream));
        assert!(is_helper("a.b.c.retry-1m", is_stream));
        assert!(!is_helper("payments.billing.dead", is_stream));
        assert!(!is_helper("orders.dead", is_stream));
        assert!(!is_helper("orders.billing", is_stream));
    }
}
