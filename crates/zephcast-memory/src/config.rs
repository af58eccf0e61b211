//! Settings of an embedded broker.

/// Settings of an embedded broker, each with a default.
///
/// # Examples
/// ```
/// # use zephcast_core::Client;
/// use zephcast_memory::{MemoryBroker, MemoryConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> zephcast_core::Result<()> {
/// let broker = MemoryBroker::with_config(MemoryConfig::new().partitions(3).retention_bytes(64 << 20));
/// let client = Client::new(broker.driver());
/// client.publisher("orders").await?.publish("two apples").await?;
/// assert_eq!(client.admin().stream(&"orders".parse()?).await?.units.len(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// From 1 to [`MAX_PARTITIONS`](Self::MAX_PARTITIONS): a message's partition is a remainder by it.
    pub(crate) partitions: u32,
    pub(crate) retention_bytes: u64,
}

impl MemoryConfig {
    /// The most partitions that a stream can have.
    pub const MAX_PARTITIONS: u32 = 4_096;

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self { partitions: 12, retention_bytes: 1 << 30 }
    }

    /// How many partitions a stream gets when it is created without a number. Default 12: shared evenly by 2, 3, 4 and
    /// 6 members. 0 counts as 1, more than [`MAX_PARTITIONS`](Self::MAX_PARTITIONS) as that many.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions.clamp(1, Self::MAX_PARTITIONS);
        self
    }

    /// How many bytes each stream keeps in memory, an equal share for each partition. Default 1 GiB.
    ///
    /// Payload, key, headers and the broker's own note of each message count. Beyond it the oldest messages are
    /// dropped, settled or not; a group that had not settled them is told how many it missed. The newest message of a
    /// partition always stays.
    #[must_use]
    pub fn retention_bytes(mut self, bytes: u64) -> Self {
        self.retention_bytes = bytes;
        self
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_a_partition_at_least() {
        assert_eq!(MemoryConfig::new().partitions(0), MemoryConfig::new().partitions(1));
        let most = MemoryConfig::new().partitions(u32::MAX);
        assert_eq!(most, MemoryConfig::new().partitions(MemoryConfig::MAX_PARTITIONS));
    }
}
