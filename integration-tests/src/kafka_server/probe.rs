//! Asks a node without a client library.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(2);

/// Whether the node counts itself among the brokers that live. Before that it answers, and serves nobody.
pub(super) async fn serves(node: SocketAddr) -> bool {
    match timeout(LIMIT, brokers(node)).await {
        Ok(Ok(reply)) => lists(&reply, node),
        _ => false,
    }
}

/// What it says of its cluster.
async fn brokers(node: SocketAddr) -> io::Result<Vec<u8>> {
    // Metadata, version 1, of no topic: key, version, correlation, no client's name, no topics.
    let request = [0, 3, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    let mut socket = TcpStream::connect(node).await?;
    socket.write_u32(14).await?;
    socket.write_all(&request).await?;
    let length = socket.read_u32().await?;
    let mut reply = Vec::new();
    socket.take(length.into()).read_to_end(&mut reply).await?;
    Ok(reply)
}

/// In it each broker is a host, as length and text, and a port.
fn lists(reply: &[u8], node: SocketAddr) -> bool {
    let host = node.ip().to_string();
    let length = u16::try_from(host.len()).unwrap_or_default().to_be_bytes();
    let broker = [&length[..], host.as_bytes(), &u32::from(node.port()).to_be_bytes()].concat();
    reply.windows(broker.len()).any(|part| part == broker)
}
