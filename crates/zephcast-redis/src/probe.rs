//! Which language a port speaks, for those who connected with the other one.

use std::time::Duration;

use fred::error::{Error as FredError, ErrorKind as FredKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::RedisConfig;
use crate::config::Topology;

/// With what the error begins, see [`crate::error::translate`].
pub(crate) const WRONG_LANGUAGE: &str = "the port speaks ";
/// Enough for a port's first byte.
const PATIENCE: Duration = Duration::from_millis(500);
/// A handshake of TLS that says nothing. A server with TLS answers with an alert; one without waits for the line's end.
const HELLO: [u8; 9] = [0x16, 3, 1, 0, 4, 1, 0, 0, 0];
/// How an alert begins.
const ALERT: u8 = 0x15;

/// Says so when one server's port speaks TLS and the settings do not, or the other way round.
pub(crate) async fn wrong_language(config: &RedisConfig) -> Option<FredError> {
    let (Topology::Single, Some(host)) = (&config.topology, config.hosts.first()) else { return None };
    let question: &[u8] = if config.tls.is_some() { b"PING\r\n" } else { &HELLO };
    let first = tokio::time::timeout(PATIENCE, first_byte(host, question)).await.ok()?.ok()?;
    let wrong = match (config.tls.is_some(), first) {
        (false, ALERT) => "TLS: connect with rediss://",
        (true, b'+' | b'-') => "no TLS: connect with redis://, or name the server's TLS port",
        _ => return None,
    };
    Some(FredError::new(FredKind::Config, format!("{WRONG_LANGUAGE}{wrong}")))
}

/// The first byte of the answer to `question`.
async fn first_byte((host, port): &(String, u16), question: &[u8]) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
    stream.write_all(question).await?;
    stream.read_u8().await
}
