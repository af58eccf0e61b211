//! What a command is told in its environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use zephcast::{Delivery, MessageId};

/// Variables of this prefix are the delivery's: none of ours is passed on, least of all the broker's URL.
pub(crate) const PREFIX: &str = "ZEPHCAST_";

/// The variables of a delivery. What has no value, or a NUL in it, has no variable.
pub(crate) fn variables(delivery: &Delivery) -> Vec<(String, OsString)> {
    let text = |value: &dyn ToString| Some(value.to_string().into_bytes());
    let fixed = [
        ("STREAM", text(delivery.stream())),
        ("GROUP", text(delivery.group())),
        ("MEMBER", text(delivery.member())),
        ("KEY", delivery.key().map(|key| key.to_vec())),
        ("ID", delivery.id().map(MessageId::as_bytes).map(|id| id.to_vec())),
        ("ATTEMPT", text(&delivery.attempt())),
        ("POSITION", text(&delivery.position())),
        ("PUBLISHED_MS", delivery.published_ms().map(|at| at.to_string().into_bytes())),
    ];
    let fixed = fixed.into_iter().filter_map(|(name, value)| Some((format!("{PREFIX}{name}"), value?)));
    let headers: Vec<_> = delivery.headers().iter().collect();
    // Of several the first one counts, so it comes last.
    let headers = headers.into_iter().rev().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value?)));
    let headers = headers.flat_map(|(name, value)| header_variables(name).map(|name| (name, value.to_vec())));
    let all = headers.chain(fixed).filter(|(_, value)| !value.contains(&0));
    all.map(|(name, value)| (name, OsStr::from_bytes(&value).to_owned())).collect()
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
}
