//! The exchange of a stream and the queues of a group.

use std::time::Duration;

use zephcast_core::{GroupName, NameRules, Result, StreamName};

use crate::RabbitConfig;
use crate::error::invalid;

/// The rule for a stream's name: what RabbitMQ allows for an exchange, with room for the names of a group's queues.
pub(crate) const NAMES: NameRules = NameRules {
    max_bytes: 200,
    stream: |name| match name {
        own if own.starts_with("amq.") => Err("begins with `amq.`, which is kept for the broker's own"),
        ours if is_roll_call(ours) => Err("ends in `.members`, as exchanges do at which members of groups are asked"),
        _ => Ok(()),
    },
};

/// The longest name of a queue, in bytes.
const LONGEST: usize = 255;

/// How long a message that comes later has to wait at most: each class has a queue of its own, so that none waits behind
/// one that waits much longer. The last one takes what waits for longer, which is delayed again when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Delay(usize);

/// The classes: how a queue's name ends, and the longest delay in it.
const CLASSES: [(&str, Duration); 15] = [
    ("retry-1s", Duration::from_secs(1)),
    ("retry-2s", Duration::from_secs(2)),
    ("retry-5s", Duration::from_secs(5)),
    ("retry-10s", Duration::from_secs(10)),
    ("retry-30s", Duration::from_secs(30)),
    ("retry-1m", Duration::from_secs(60)),
    ("retry-3m", Duration::from_secs(180)),
    ("retry-10m", Duration::from_secs(600)),
    ("retry-30m", Duration::from_secs(1_800)),
    ("retry-1h", Duration::from_secs(3_600)),
    ("retry-3h", Duration::from_secs(10_800)),
    ("retry-10h", Duration::from_secs(36_000)),
    ("retry-1d", Duration::from_secs(86_400)),
    ("retry-4d", Duration::from_secs(345_600)),
    ("retry-30d", Duration::from_secs(2_592_000)),
];

impl Delay {
    /// The class of a delay.
    pub(crate) fn of(delay: Duration) -> Self {
        Self(CLASSES.iter().position(|(_, most)| delay <= *most).unwrap_or(CLASSES.len() - 1))
    }

    /// The longest delay of the class.
    pub(crate) fn most(self) -> Duration {
        CLASSES[self.0].1
    }
}

/// The names of one group of a stream at the broker.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) stream: StreamName,
    pub(crate) group: GroupName,
    /// What the group has to handle.
    pub(crate) queue: String,
    /// What the group gave up.
    pub(crate) dead: String,
    /// What comes from an unclean end, and is tried one by one.
    pub(crate) suspects: String,
    /// What members write down about messages that may come again.
    pub(crate) hints: String,
    /// The exchange at which members are asked how they are.
    pub(crate) members: String,
}

impl Names {
    /// The names, of which the longest fits.
    ///
    /// # Errors
    /// `InvalidInput` when stream and group are too long together, or the queue's own name is.
    pub(crate) fn new(config: &RabbitConfig, stream: &StreamName, group: &GroupName) -> Result<Self> {
        NAMES.check(stream)?;
        let queue = config.queue_of(stream, group);
        let longest = queue.len() + ".suspects".len();
        if longest > LONGEST {
            let text = format!(
                "the queue {queue:?} has a name of {} bytes, and those beside it are longer than the {LONGEST} that \
                 RabbitMQ allows; choose a shorter stream, group or queue",
                queue.len()
            );
            return Err(invalid("name", text));
        }
        Ok(Self {
            stream: stream.clone(),
            group: group.clone(),
            dead: format!("{queue}.dead"),
            suspects: format!("{queue}.suspects"),
            hints: format!("{queue}.hints"),
            members: format!("{queue}.members"),
            queue,
        })
    }

    /// The queue of a delay class.
    pub(crate) fn retry(&self, delay: Delay) -> String {
        format!("{}.{}", self.queue, CLASSES[delay.0].0)
    }

    /// Every queue in which messages of the group wait for a later attempt.
    pub(crate) fn retries(&self) -> impl Iterator<Item = String> {
        CLASSES.iter().map(|(class, _)| format!("{}.{class}", self.queue))
    }

    /// What the names of [these](Self::retries) begin with.
    pub(crate) fn retries_prefix(&self) -> String {
        format!("{}.retry-", self.queue)
    }

    /// What the names of all queues beside the group's own begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("{}.", self.queue)
    }
}

/// Whether an exchange is none of a stream, but that at which a group's members are asked.
pub(crate) fn is_roll_call(exchange: &str) -> bool {
    exchange.ends_with(".members")
}

/// The group whose queue this is, if it is one of the stream's.
pub(crate) fn group_of(stream: &StreamName, queue: &str) -> Option<GroupName> {
    let group = queue.strip_prefix(stream.as_str())?.strip_prefix('.')?;
    GroupName::new(unescaped(group)).ok().filter(|read| escaped(read) == group)
}

/// A group's name as one part of a queue's, with which no other name shares it: a dot is `_x2e`, and a `_x` that would be
/// read so is `_x5fx`. One that would be read as a queue [beside](is_beside) that of a group ends in `_x`.
pub(crate) fn escaped(group: &GroupName) -> String {
    let mut name = group.as_str().replace("_x", "_x5fx").replace('.', "_x2e");
    if is_beside(&name) {
        name.push_str("_x");
    }
    name
}

fn unescaped(text: &str) -> String {
    text.strip_suffix("_x").unwrap_or(text).replace("_x2e", ".").replace("_x5fx", "_x")
}

/// Whether a queue `STREAM.GROUP` whose name ends so has its messages from a group of its own.
fn is_beside(end: &str) -> bool {
    matches!(end, "dead" | "suspects" | "hints" | "members") || CLASSES.iter().any(|(class, _)| *class == end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(stream: &str, group: &str) -> Names {
        let (stream, group) = (StreamName::new(stream).unwrap(), GroupName::new(group).unwrap());
        Names::new(&RabbitConfig::new("h", 1), &stream, &group).unwrap()
    }

    #[test]
    fn a_group_has_a_queue_and_others_beside_it() {
        let names = names("orders", "billing");
        assert_eq!((names.queue.as_str(), names.dead.as_str()), ("orders.billing", "orders.billing.dead"));
        let beside = names.retries().chain([&names.dead, &names.suspects, &names.hints].map(Clone::clone));
        assert!(beside.into_iter().all(|name| name.starts_with(&names.prefix())));
    }

    #[test]
    fn a_message_waits_behind_none_that_waits_much_longer() {
        let names = names("s", "g");
        let class = |ms| names.retry(Delay::of(Duration::from_millis(ms)));
        assert!(names.retries().all(|queue| queue.starts_with(&names.retries_prefix())));
        assert_eq!(class(0), "s.g.retry-1s");
        assert_eq!(class(1_000), "s.g.retry-1s");
        assert_eq!(class(1_001), "s.g.retry-2s");
        assert_eq!(class(u64::MAX), "s.g.retry-30d");
    }

    #[test]
    fn what_is_too_long_or_the_brokers_own_is_refused() {
        let config = RabbitConfig::new("h", 1);
        let (stream, group) = (StreamName::new("s".repeat(200)).unwrap(), GroupName::new("g".repeat(60)).unwrap());
        assert!(Names::new(&config, &stream, &group).unwrap_err().to_string().contains("shorter"));
        assert!(
            ["amq.topic", "orders.billing.members"]
                .iter()
                .all(|name| NAMES.check(&StreamName::new(*name).unwrap()).is_err())
        );
    }

    #[test]
    fn a_group_has_no_queue_that_is_beside_anothers() {
        let own = names("orders", "billing");
        let beside = own.retries().chain([&own.dead, &own.suspects, &own.hints, &own.members].map(Clone::clone));
        for (queue, is_read) in [("orders.foo_x", false), ("orders.a_x5f", false), ("orders.dead_x", true)] {
            assert_eq!(group_of(&own.stream, queue).is_some(), is_read, "{queue}");
        }
        for name in beside {
            let group = name.rsplit_once('.').unwrap().1;
            let other = names("orders.billing", group);
            assert_ne!(other.queue, name);
            assert_eq!(group_of(&other.stream, &other.queue), Some(other.group));
            assert_eq!(group_of(&other.stream, &name), None);
        }
    }

    proptest! {
        #[test]
        fn groups_do_not_share_queues_and_are_read_back(group in "[a-z._x2e5f]{1,20}", other in "[a-z._x2e5f]{1,20}") {
            if let (Ok(group), Ok(other)) = (GroupName::new(&group), GroupName::new(&other)) {
                let stream = StreamName::new("s").unwrap();
                let queue = names("s", group.as_str()).queue;
                prop_assert_eq!(group_of(&stream, &queue), Some(group.clone()));
                prop_assert_eq!(queue == names("s", other.as_str()).queue, group == other);
            }
        }

        #[test]
        fn a_queue_that_is_read_as_a_groups_is_its(queue in "s\\.(dead|[a-z._x2e5f]{1,8})(_x)?") {
            let stream = StreamName::new("s").unwrap();
            if let Some(group) = group_of(&stream, &queue) {
                prop_assert_eq!(names("s", group.as_str()).queue, queue);
            }
        }
    }
}
