//! Error codes as the library tells them. Those that it has from a broker are read as numbers: a newer broker may know of some
//! that have no name here, and its Rust type has no room for them.

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr as Native;

/// What is written there.
///
/// # Safety
/// A code of the library lies there, whether it has a name or not.
pub(super) unsafe fn outcome_at(code: *const Native) -> Result<(), Code> {
    // SAFETY: as demanded; the type is one of 32 bits.
    outcome(unsafe { code.cast::<i32>().read() })
}

/// What a code says, by its number.
pub(super) fn outcome(code: i32) -> Result<(), Code> {
    match Native::try_from(code).map(Code::from) {
        Ok(Code::NoError) => Ok(()),
        Ok(code) => Err(code),
        Err(_) => Err(Code::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_without_a_name_is_an_unknown_error() {
        let outcomes = [0, 3, 105, 30_000].map(outcome);
        assert_eq!(outcomes, [Ok(()), Err(Code::UnknownTopicOrPartition), Err(Code::Unknown), Err(Code::Unknown)]);
    }
}
