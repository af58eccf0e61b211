//! The keys of a stream and of a group. All of them hash to the stream's own slot, so that scripts stay atomic on a
//! cluster.

use zephcast_core::{GroupName, NameRules, StreamName};

/// The rule for a stream's name: helper keys must be able to share its slot.
pub(crate) const NAMES: NameRules = NameRules {
    max_bytes: 200,
    stream: |name| match braces(name) {
        Braces::None | Braces::Tag => Ok(()),
        Braces::Odd => Err("may contain braces only as one hash tag, such as {tag}:orders,"),
    },
};

/// How a name uses the characters that mark a hash tag.
enum Braces {
    None,
    Tag,
    Odd,
}

fn braces(name: &str) -> Braces {
    let opening = name.matches('{').count();
    let closing = name.matches('}').count();
    match (opening, closing, name.find('{'), name.find('}')) {
        (0, 0, _, _) => Braces::None,
        (1, 1, Some(open), Some(close)) if close > open + 1 => Braces::Tag,
        _ => Braces::Odd,
    }
}

/// The keys of one group of a stream.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The stream itself.
    pub(crate) stream: String,
    /// The group's name, on the stream and on `retry`.
    pub(crate) group: String,
    /// A stream of the group's own: what comes back to it and to no other group.
    pub(crate) retry: String,
    /// A sorted set: what comes back later, by the time it is due.
    pub(crate) delayed: String,
    /// A stream: what the group gave up.
    pub(crate) dead: String,
    /// A hash: by member, its lease and when it was last heard of.
    pub(crate) members: String,
}

/// The kinds of helper keys.
const KINDS: [&str; 4] = ["retry", "delayed", "dead", "members"];
/// Those of them that are streams.
const STREAM_KINDS: [&str; 2] = [".retry", ".dead"];

impl Keys {
    pub(crate) fn new(stream: &StreamName, group: &GroupName) -> Self {
        let prefix = prefix(stream.as_str());
        let key = |kind: &str| format!("{prefix}{group}.{kind}");
        Self {
            stream: stream.as_str().to_owned(),
            group: group.as_str().to_owned(),
            retry: key("retry"),
            delayed: key("delayed"),
            dead: key("dead"),
            members: key("members"),
        }
    }

    /// Whether this key is what [`new`](Self::new) names as a helper of the stream, for some group.
    pub(crate) fn is_helper_of(stream: &StreamName, key: &str) -> bool {
        let Some((group, kind)) = key.strip_prefix(&prefix(stream.as_str())).and_then(|rest| rest.rsplit_once('.'))
        else {
            return false;
        };
        GroupName::new(group).is_ok() && KINDS.contains(&kind)
    }

    /// Every helper key, without the stream.
    pub(crate) fn helpers(&self) -> [&str; 4] {
        [&self.retry, &self.delayed, &self.dead, &self.members]
    }
}

/// What a helper key of this stream begins with. A group's name cannot contain `/`, a stream's neither.
fn prefix(stream: &str) -> String {
    match braces(stream) {
        Braces::None => format!("{{{stream}}}."),
        Braces::Tag | Braces::Odd => format!("{stream}/"),
    }
}

/// What every helper key of this stream matches, and perhaps other keys.
pub(crate) fn helpers_pattern(stream: &StreamName) -> String {
    let mut pattern = String::new();
    for c in prefix(stream.as_str()).chars() {
        if "*?[]^\\-".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "*"
}

/// Whether a key that is a stream is a helper of another one.
pub(crate) fn is_helper(key: &str) -> bool {
    let of_plain = key.starts_with('{') && key.contains("}.");
    (of_plain || key.contains('/')) && STREAM_KINDS.iter().any(|kind| key.ends_with(kind))
}

#[cfg(test)]
mod tests {
    use fred::util::redis_keyslot;

    use super::*;

    #[test]
    fn helpers_share_the_slot_of_their_stream() {
        for stream in ["orders", "a.b", "{tag}:orders", "orders{x}", "größe"] {
            let keys = Keys::new(&StreamName::new(stream).unwrap(), &GroupName::new("g").unwrap());
            for helper in keys.helpers() {
                assert_eq!(redis_keyslot(helper.as_bytes()), redis_keyslot(stream.as_bytes()), "{helper}");
            }
            assert!(is_helper(&keys.retry) && is_helper(&keys.dead) && !is_helper(stream), "{stream}");
            let name = StreamName::new(stream).unwrap();
            assert!(keys.helpers().iter().all(|key| Keys::is_helper_of(&name, key)), "{stream}");
            assert!(!Keys::is_helper_of(&name, stream) && !Keys::is_helper_of(&name, &format!("{}x", keys.dead)));
            assert!(!Keys::is_helper_of(&StreamName::new(format!("x{stream}")).unwrap(), &keys.dead), "{stream}");
        }
    }

    #[test]
    fn keys_are_named_as_documented() {
        let keys = |stream| Keys::new(&StreamName::new(stream).unwrap(), &GroupName::new("billing").unwrap());
        assert_eq!(keys("orders").dead, "{orders}.billing.dead");
        assert_eq!(keys("{t}orders").dead, "{t}orders/billing.dead");
    }

    #[test]
    fn odd_braces_are_refused() {
        for bad in ["{}", "a{}b", "}{", "{a}{b}", "{a", "a}", "{{a}}"] {
            assert!(NAMES.check(&StreamName::new(bad).unwrap()).is_err(), "{bad}");
        }
        for good in ["a", "{a}", "x{a}y"] {
            assert!(NAMES.check(&StreamName::new(good).unwrap()).is_ok(), "{good}");
        }
    }
}
