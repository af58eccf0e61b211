//! What a command is told in its environment.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;
use zephcast::{Delivery, Headers, MessageId};

/// Variables of this prefix are the delivery's: none of ours is passed on, least of all the broker's URL.
pub(crate) const PREFIX: &str = "ZEPHCAST_";

/// Linux starts no program with a longer `NAME=VALUE`, its end included.
const LONGEST: usize = 128 * 1024;
/// All variables of a delivery together. Systems allow 1 MiB (macOS) or 2 MiB (Linux) for these, what we have in our
/// own environment, and the command.
const MOST: usize = 512 * 1024;

/// The variables of a delivery. What has no value, a NUL in it, or no room has no variable: a message is not at fault
/// for what a system cannot pass on.
pub(crate) fn variables(delivery: &Delivery) -> Vec<(String, OsString)> {
    let mut variables = Variables::default();
    let mut fixed = |name: &str, value: &[u8]| variables.add(format!("{PREFIX}{name}"), value);
    fixed("STREAM", delivery.stream().as_str().as_bytes());
    fixed("GROUP", delivery.group().as_str().as_bytes());
    fixed("MEMBER", delivery.member().as_str().as_bytes());
    fixed("ATTEMPT", delivery.attempt().to_string().as_bytes());
    fixed("POSITION", delivery.position().to_string().as_bytes());
    if let Some(at) = delivery.published_ms() {
        fixed("PUBLISHED_MS", at.to_string().as_bytes());
    }
    if let Some(id) = delivery.id().map(MessageId::as_bytes) {
        fixed("ID", id);
    }
    if let Some(key) = delivery.key() {
        fixed("KEY", key);
    }
    variables.add_headers(delivery.headers());
    variables.all
}

/// Variables as far as there is room for them. Of several of one name the first one counts.
#[derive(Default)]
struct Variables {
    all: Vec<(String, OsString)>,
    names: BTreeSet<String>,
    size: usize,
}

impl Variables {
    fn add_headers(&mut self, headers: &Headers) {
        let text = |(name, value): (&'_ Bytes, Option<&'_ Bytes>)| {
            Some((std::str::from_utf8(name).ok()?.to_owned(), value?.clone()))
        };
        for (name, value) in headers.iter().filter_map(text) {
            header_variables(&name).for_each(|variable| self.add(variable, &value));
        }
    }

    fn add(&mut self, name: String, value: &[u8]) {
        let length = name.len() + value.len() + "=\0".len();
        // In memory there is a pointer to each.
        let size = self.size + length + size_of::<usize>();
        if value.contains(&0) || !self.names.insert(name.clone()) || length > LONGEST || size > MOST {
            return;
        }
        self.size = size;
        self.all.push((name, OsStr::from_bytes(value).to_owned()));
    }
}

/// `ZEPHCAST_HEADER_<NAME>`: in upper case, `_` for what a shell's variable cannot have, as CGI does it; and as the
/// header is spelt, where a shell can have that.
fn header_variables(name: &str) -> impl Iterator<Item = String> + use<> {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let plain: String = name.chars().map(word).collect();
    let spelt = (plain == name).then(|| plain.clone());
    let upper = (!name.is_empty()).then(|| plain.to_ascii_uppercase());
    upper.into_iter().chain(spelt).filter(|name| !name.is_empty()).map(|name| format!("{PREFIX}HEADER_{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_become_variables() {
        for (name, variables) in [
            ("traceparent", &["ZEPHCAST_HEADER_TRACEPARENT", "ZEPHCAST_HEADER_traceparent"][..]),
            ("Content-Type", &["ZEPHCAST_HEADER_CONTENT_TYPE"]),
            ("a=b\nc", &["ZEPHCAST_HEADER_A_B_C"]),
            ("", &[]),
        ] {
            assert_eq!(header_variables(name).collect::<Vec<_>>(), variables);
        }
    }

    #[test]
    fn the_first_of_a_name_counts() {
        let mut headers = Headers::new();
        headers.append("A-B", "1");
        headers.append("a.b", "2");
        headers.append_null("C-D");
        let mut variables = Variables::default();
        variables.add_headers(&headers);
        assert_eq!(variables.all, [("ZEPHCAST_HEADER_A_B".to_owned(), OsString::from("1"))]);
    }

    #[test]
    fn what_is_too_long_is_left_out_and_the_rest_can_be_passed_on() {
        let mut variables = Variables::default();
        let longest = LONGEST - "LONGEST=\0".len();
        variables.add("LONGEST".into(), &vec![b'x'; longest]);
        variables.add("BEYOND_".into(), &vec![b'x'; longest + 1]);
        for n in 0..100_000 {
            variables.add(format!("MANY_{n}"), b"x");
        }
        variables.add("NUL".into(), b"a\0b");
        let names: Vec<_> = variables.all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..2], ["LONGEST", "MANY_0"]);
        assert!(variables.size <= MOST && variables.size > MOST - 100, "{}", variables.size);
        let mut command = std::process::Command::new("sh");
        let command = command.args(["-c", "test ${#LONGEST} -gt 100000"]).envs(variables.all);
        assert!(command.status().expect("it can be started").success());
    }
}
