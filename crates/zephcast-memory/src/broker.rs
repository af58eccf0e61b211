//! The broker: streams, settings, faults.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use zephcast_core::{Endpoint, Result, StreamName};

use crate::clock::Clock;
use crate::error::no_stream;
use crate::faults::Rules;
use crate::lock::lock;
use crate::stream::Stream;
use crate::{Faults, MemoryConfig, MemoryDriver};

/// An embedded broker. A cheap handle: clones are the same broker, which lives as long as one of them or one of its
/// drivers does.
///
/// Streams, groups and members belong to the broker, so several clients in one process can share them, each through a
/// [driver](Self::driver) of its own. Nothing is shared beside that: there is no global broker.
///
/// # Examples
/// ```
/// # use zephcast_core::Client;
/// # use zephcast_memory::MemoryBroker;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> zephcast_core::Result<()> {
/// let broker = MemoryBroker::new();
/// let (one, another) = (Client::new(broker.driver()), Client::new(broker.driver()));
/// one.publisher("orders").await?.publish("two apples").await?;
/// assert_eq!(another.admin().stream(&"orders".parse()?).await?.depth, Some(1));
///
/// let elsewhere = Client::new(MemoryBroker::new().driver());
/// assert!(elsewhere.admin().streams().await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryBroker {
    core: Arc<Core>,
}

impl MemoryBroker {
    /// A broker with the default [settings](MemoryConfig).
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(MemoryConfig::new())
    }

    /// A broker with these settings.
    #[must_use]
    pub fn with_config(config: MemoryConfig) -> Self {
        let core = Core { config, clock: Clock::start(), streams: Mutex::default(), rules: Rules::default() };
        Self { core: Arc::new(core) }
    }

    /// A new broker as its URL says: `memory://?partitions=4&retention-bytes=1048576`, each key optional. The same
    /// URL read again is another broker.
    ///
    /// # Errors
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) when the URL cannot be read; see
    /// [`MemoryConfig::from_endpoint`].
    pub fn from_url(url: &str) -> Result<Self> {
        Ok(Self::with_config(MemoryConfig::from_endpoint(&Endpoint::parse(url)?)?))
    }

    /// Connects a client.
    #[must_use]
    pub fn driver(&self) -> Arc<MemoryDriver> {
        Arc::new(MemoryDriver::new(self.core.clone()))
    }

    /// What is to go wrong.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(self.core.clone())
    }
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker").field("config", &self.core.config).finish_non_exhaustive()
    }
}

/// What a broker's handles share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: MemoryConfig,
    pub(crate) clock: Clock,
    pub(crate) rules: Rules,
    streams: Mutex<BTreeMap<StreamName, Arc<Stream>>>,
}

impl Core {
    /// The stream of this name.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(crate) fn stream(&self, operation: &'static str, name: &StreamName) -> Result<Arc<Stream>> {
        lock(&self.streams).get(name).cloned().ok_or_else(|| no_stream(operation, name))
    }

    /// The stream of this name, made by `make` if there is none.
    pub(crate) fn stream_or_create(&self, name: &StreamName, make: impl FnOnce() -> Stream) -> Arc<Stream> {
        lock(&self.streams).entry(name.clone()).or_insert_with(|| Arc::new(make())).clone()
    }

    /// A stream with the broker's defaults, not yet among its streams.
    pub(crate) fn default_stream(&self, name: &StreamName) -> Stream {
        Stream::new(name.clone(), self.config.partitions, self.config.retention_bytes)
    }

    /// Every stream by name.
    pub(crate) fn streams(&self) -> Vec<Arc<Stream>> {
        lock(&self.streams).values().cloned().collect()
    }

    /// # Errors
    /// `NotFound` when there is none.
    pub(crate) fn delete_stream(&self, name: &StreamName) -> Result<()> {
        let stream = lock(&self.streams).remove(name).ok_or_else(|| no_stream("delete stream", name))?;
        stream.delete();
        Ok(())
    }

    /// Makes every waiting fetch look again.
    pub(crate) fn wake_all(&self) {
        for stream in self.streams() {
            stream.wake();
        }
    }
}
