//! Redis, as the cases of all brokers see it.

use integration_tests::redis_server::{RedisOptions, RedisServer};
use serde_json::Value;

pub(crate) type Server = RedisServer;

pub(crate) const NAME: &str = "redis";
pub(crate) const SCHEME: &str = "redis";
/// Where a server is that is there already.
pub(crate) const URL_VARIABLE: &str = "ZEPHCAST_TEST_REDIS_URL";
/// Whether a stream keeps what is published before there is a group.
pub(crate) const KEEPS_WITHOUT_GROUP: bool = true;
/// Whether a message that ends its process is suspected from the first time on, before it is known to be alone.
pub(crate) const FIRST_DEATH_COUNTS: bool = true;
/// What `check` says of partitions.
pub(crate) const HAS_PARTITIONS: bool = false;
/// Whether it tells its own version, and since when a member has been idle.
pub(crate) const TELLS_VERSION: bool = true;
pub(crate) const TELLS_IDLE: bool = true;

/// A server that a test may break.
pub(crate) async fn start() -> Server {
    start_with(&[]).await
}

pub(crate) async fn start_with(arguments: &[&str]) -> Server {
    let options = RedisOptions::default().arguments(arguments.iter().copied());
    RedisServer::start(options).await.expect("a redis-server")
}

/// The URL under which a stream that is created has so many units. Here it has one, which members share.
pub(crate) fn url(server: &str, _units: u32) -> String {
    server.to_owned()
}

/// Time and sequence.
pub(crate) fn check_position(position: &str, published_ms: Option<u64>) {
    let (time, _) = position.split_once('-').expect("a time and a sequence");
    assert!(published_ms.is_none_or(|published| time == published.to_string()), "{position}: {published_ms:?}");
}

/// Where a message is said to be that was published.
pub(crate) fn check_published(position: &Value) {
    check_position(position.as_str().expect("text"), None);
}
