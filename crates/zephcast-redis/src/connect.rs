//! From a configuration to a client.

use zephcast_core::{Client, Result};

use crate::{RedisConfig, RedisDriver};

impl RedisConfig {
    /// Connects, and gives a client.
    ///
    /// # Errors
    /// As [`RedisDriver::connect`].
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped attempt closes its connection.
    pub async fn connect(self) -> Result<Client> {
        let driver = RedisDriver::connect(self).await?;
        Ok(Client::new(driver))
    }
}
