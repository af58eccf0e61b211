//! Redis.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "redis",
    url_variable: "REDIS_URL",
    test_variable: "ZEPHCAST_TEST_REDIS_URL",
    default_port: 6379,
    first_port: 16_399,
    url: |port| format!("redis://127.0.0.1:{port}"),
    compose_file: "compose/redis.yml",
    port_variable: "ZEPHCAST_REDIS_PORT",
    program: "redis-server",
    package: "redis-server",
    advice: "Install Redis 7 (Debian, Ubuntu: sudo apt-get install redis-server; Fedora: sudo dnf install redis; \
             macOS: brew install redis), or start Docker, or set REDIS_URL.",
    arguments,
    // Redis replaces its command line by `redis-server 127.0.0.1:16399`.
    recognises: |command_line, port| command_line.contains("redis-server") && command_line.contains(&port.to_string()),
};

/// Whether the server has loaded its data and talks, if only to ask for a password.
pub(super) async fn answers(address: SocketAddr) -> bool {
    let asked = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(b"PING\r\n").await?;
        let mut reply = [0; 16];
        let read = socket.read(&mut reply).await?;
        Ok::<_, io::Error>(reply[..read].starts_with(b"+PONG") || reply[..read].starts_with(b"-NOAUTH"))
    };
    asked.await.unwrap_or(false)
}

fn arguments(port: u16, data: &Path) -> Vec<OsString> {
    let port = port.to_string();
    // Fault tests need DEBUG, which is off by default from Redis 7 on.
    let fixed = [
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "yes",
        "--enable-debug-command",
        "local",
    ];
    fixed.into_iter().map(OsString::from).chain(["--dir".into(), data.into()]).collect()
}
