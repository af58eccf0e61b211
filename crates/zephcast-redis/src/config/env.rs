//! Settings from the environment.

use zephcast_core::Result;

use super::RedisConfig;
use crate::error::invalid;

impl RedisConfig {
    /// Reads the URL in the environment variable `REDIS_URL`.
    ///
    /// # Errors
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) when the variable is missing or its URL cannot be used;
    /// the URL is not repeated.
    pub fn from_env() -> Result<Self> {
        match std::env::var("REDIS_URL") {
            Ok(url) => Self::from_url(&url),
            Err(_) => Err(invalid("read environment", "the variable REDIS_URL is not set or no text")),
        }
    }
}
