//! Names of streams, groups and members: checked once, then safe everywhere.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Error, ErrorKind, Result};

/// The longest name that every broker can carry, in bytes (Kafka's limit for a topic).
const MAX_BYTES: usize = 249;

/// What every name must be, on every broker: 1 to 249 bytes of visible characters.
///
/// Blanks, control characters, quotes, `/`, `\` and `*` have a meaning to some broker, shell or path; a name without
/// them cannot inject anything anywhere. A broker's own narrower rule is in [`NameRules`].
fn check(what: &'static str, text: &str) -> Result<()> {
    let refuse = |why: String| Err(Error::new(ErrorKind::InvalidInput, "name", format!("the {what} name {why}")));
    if text.is_empty() {
        return refuse("is empty".into());
    }
    if text.len() > MAX_BYTES {
        return refuse(format!("has {} bytes, at most {MAX_BYTES} are allowed", text.len()));
    }
    if text == "." || text == ".." {
        return refuse(format!("`{text}` would be a path"));
    }
    match text.chars().find(|c| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\' | '*' | '\'' | '"')) {
        Some(bad) => refuse(format!("contains {bad:?}")),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and keeps it.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidInput`] when it is empty, longer than 249 bytes, `.` or `..`, or contains a blank,
            /// a control character, a quote, `/`, `\` or `*`.
            pub fn new(text: impl AsRef<str>) -> Result<Self> {
                check($what, text.as_ref())?;
                Ok(Self(text.as_ref().into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }
    };
}

name!(
    /// The name of a stream: a topic, an exchange, a stream key, a log.
    StreamName, "stream"
);
name!(
    /// The name of a consumer group. Each message of a stream reaches one member of every group.
    GroupName, "group"
);
name!(
    /// The name of a member within its group. Two living members must not share one.
    MemberName, "member"
);

impl MemberName {
    /// A name that no other member has: host, process id and a random suffix.
    #[must_use]
    pub fn unique() -> Self {
        let host: String = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .or_else(|| std::env::var("HOSTNAME").ok())
            .unwrap_or_default()
            .trim()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
            .take(64)
            .collect();
        let host = if host.is_empty() { "host" } else { &host };
        Self(format!("{host}-{}-{:08x}", std::process::id(), fastrand::u32(..)).into())
    }
}

/// A broker's own rule for names, on top of what every name must be. Data of [`Capabilities`](crate::Capabilities).
#[derive(Clone, Copy, Debug)]
pub struct NameRules {
    /// The longest name in bytes.
    pub max_bytes: usize,
    /// Says whether a stream name is allowed.
    pub stream: fn(&str) -> std::result::Result<(), &'static str>,
}

impl NameRules {
    /// No rule beyond what every name must be.
    pub const ANY: Self = Self { max_bytes: MAX_BYTES, stream: |_| Ok(()) };

    /// Checks a stream's name by the broker's rule.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the rule.
    pub fn check(&self, stream: &StreamName) -> Result<()> {
        let refuse = |why: &str| {
            let text = format!("the stream name {stream:?} {why} on this broker");
            Err(Error::new(ErrorKind::InvalidInput, "name", text))
        };
        if stream.as_str().len() > self.max_bytes {
            return refuse("is too long");
        }
        (self.stream)(stream.as_str()).or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_inject_or_confuse() {
        let long = "x".repeat(250);
        for bad in ["", ".", "..", "a b", "a\nb", "a\0b", "../x", "a'b", "a\"b", "a*", "a\\b", "\u{7f}", &long] {
            let error = StreamName::new(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
    }

    #[test]
    fn takes_what_brokers_use() {
        for good in ["orders", "a.b-c_d", "{tag}:orders", "größe", &"x".repeat(249)] {
            assert_eq!(StreamName::new(good).expect(good).as_str(), good);
        }
    }

    #[test]
    fn unique_member_names_differ_and_are_valid() {
        let (a, b) = (MemberName::unique(), MemberName::unique());
        assert_ne!(a, b);
        assert!(MemberName::new(a.as_str()).is_ok());
    }
}
