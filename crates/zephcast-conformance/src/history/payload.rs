//! The payloads of a history's messages: text so that they pass through any tool, with a number and a checksum.

/// `LABEL/NUMBER/FILLING/CHECKSUM`.
pub(super) fn encode(label: &str, number: u64, bytes: usize) -> String {
    let head = format!("{label}/{number}/");
    let filling = bytes.saturating_sub(head.len() + 17);
    let body = head + &"0123456789abcdef".repeat(filling.div_ceil(16))[..filling];
    let sum = checksum(body.as_bytes());
    format!("{body}/{sum:016x}")
}

/// The number of what is ours and whole.
pub(super) fn decode(label: &str, payload: &[u8]) -> Option<u64> {
    let (body, sum) = std::str::from_utf8(payload).ok()?.rsplit_once('/')?;
    if u64::from_str_radix(sum, 16).ok()? != checksum(body.as_bytes()) {
        return None;
    }
    body.strip_prefix(label)?.strip_prefix('/')?.split('/').next()?.parse().ok()
}

/// FNV-1a, 64 bits: enough to see a changed or mixed-up payload.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
