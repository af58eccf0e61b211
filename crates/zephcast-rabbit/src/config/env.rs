//! Settings from the environment.

use zephcast_core::Result;

use super::RabbitConfig;
use crate::error::invalid;

impl RabbitConfig {
    /// Reads the URL in the environment variable `RABBITMQ_URL`, else `AMQP_URL`. Where the URL names no management API,
    /// `RABBITMQ_MANAGEMENT_URL` does.
    ///
    /// # Errors
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) when no variable is set or its URL cannot be used; the
    /// URL is not repeated.
    pub fn from_env() -> Result<Self> {
        let url = ["RABBITMQ_URL", "AMQP_URL"].iter().find_map(|name| std::env::var(name).ok());
        match url {
            Some(url) => Self::from_url(&url),
            None => Err(invalid("read environment", "neither RABBITMQ_URL nor AMQP_URL is set and text")),
        }
    }
}
