//! Reading `memory://` URLs.

use zephcast_core::{Endpoint, Result};

use crate::MemoryConfig;
use crate::error::invalid;

const OPERATION: &str = "read URL";

impl MemoryConfig {
    /// Reads `memory://`, `memory://LABEL` and the keys `partitions` and `retention-bytes`. The label is for people
    /// only: every URL stands for a broker of its own.
    ///
    /// # Errors
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) on another scheme, a user, a port, a path, an unknown
    /// key or a value that is no number within its range.
    pub fn from_endpoint(endpoint: &Endpoint) -> Result<Self> {
        if endpoint.scheme() != "memory" {
            return Err(invalid(OPERATION, format!("`{}` is not `memory`", endpoint.scheme())));
        }
        let plain_label = matches!(endpoint.hosts(), [] | [(_, None)]);
        if endpoint.user().is_some() || endpoint.password().is_some() || !plain_label || !endpoint.path().is_empty() {
            return Err(invalid(OPERATION, "the embedded broker takes memory:// or memory://LABEL, nothing more"));
        }
        endpoint.allow_query(&["partitions", "retention-bytes"])?;
        let mut config = Self::new();
        if let Some(text) = endpoint.query("partitions") {
            config.partitions = read_partitions(OPERATION, text)?;
        }
        if let Some(text) = endpoint.query("retention-bytes") {
            config.retention_bytes = read_retention_bytes(OPERATION, text)?;
        }
        Ok(config)
    }
}

fn read_partitions(operation: &'static str, text: &str) -> Result<u32> {
    let range = 1..=MemoryConfig::MAX_PARTITIONS;
    let why = || invalid(operation, format!("`partitions` is a number from 1 to {}", MemoryConfig::MAX_PARTITIONS));
    text.parse().ok().filter(|partitions| range.contains(partitions)).ok_or_else(why)
}

/// Also the setting of that name of a stream to be created.
pub(crate) fn read_retention_bytes(operation: &'static str, text: &str) -> Result<u64> {
    text.parse().map_err(|_| invalid(operation, "`retention-bytes` is a number of bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<MemoryConfig> {
        MemoryConfig::from_endpoint(&Endpoint::parse(url).unwrap())
    }

    #[test]
    fn reads_its_keys() {
        assert_eq!(read("memory://").unwrap(), MemoryConfig::new());
        let config = read("memory://tests?partitions=4&retention-bytes=1000").unwrap();
        assert_eq!((config.partitions, config.retention_bytes), (4, 1000));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for (url, part) in [
            ("redis://h", "not `memory`"),
            ("memory://u:p@x", "nothing more"),
            ("memory://x:1", "nothing more"),
            ("memory://a,b", "nothing more"),
            ("memory://x/path", "nothing more"),
            ("memory://?partition=4", "unknown key"),
            ("memory://?partitions=0", "from 1 to"),
            ("memory://?partitions=x", "from 1 to"),
            ("memory://?retention-bytes=-1", "number of bytes"),
        ] {
            let error = read(url).expect_err(url);
            assert_eq!(error.kind(), zephcast_core::ErrorKind::InvalidInput, "{url}");
            assert!(error.to_string().contains(part), "{url}: {error}");
        }
    }
}
