//! What the server says of itself first, which the client library keeps to itself.

use std::sync::{Arc, OnceLock};

/// The server's version, once it has said so.
pub(crate) type ServerVersion = Arc<OnceLock<String>>;

/// Finds it in a method, if that is the `connection.start` with which the server begins.
pub(super) fn version(payload: &[u8]) -> Option<String> {
    /// A name of seven bytes, and the type of its value: a long text.
    const ENTRY: &[u8] = b"\x07versionS";
    payload.strip_prefix(&[0, 10, 0, 10])?;
    let at = payload.windows(ENTRY.len()).position(|bytes| bytes == ENTRY)?;
    let (size, rest) = payload[at + ENTRY.len()..].split_first_chunk()?;
    let text = rest.get(..usize::try_from(u32::from_be_bytes(*size)).ok()?)?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_where_the_server_says_one() {
        let start = |properties: &[u8]| [&[0, 10, 0, 10, 0, 9, 0, 0, 0, 99][..], properties].concat();
        assert_eq!(
            version(&start(b"\x07productS\0\0\0\x02MQ\x07versionS\0\0\0\x054.0.5rest")).as_deref(),
            Some("4.0.5")
        );
        for other in [&b"\x07productS\0\0\0\x02MQ"[..], b"\x07versionS\0\0\0\x064.0.5", b"\x07versionS\0\0", b""] {
            assert_eq!(version(&start(other)), None);
        }
        assert_eq!(version(b"\0\x3c\0\x3c\x07versionS\0\0\0\x014"), None);
    }
}
