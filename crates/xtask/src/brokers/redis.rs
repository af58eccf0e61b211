//! Redis.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::native::Site;
use super::packages::{self, Package};
use super::recipe::Recipe;

pub(super) const RECIPE: Recipe = Recipe {
    name: "redis",
    driver: "redis",
    url_variable: "REDIS_URL",
    test_variable: "ZEPHCAST_TEST_REDIS_URL",
    default_port: 6379,
    first_port: 16_399,
    url: |nodes| format!("redis://127.0.0.1:{}", nodes[0][0]),
    compose_file: "compose/redis.yml",
    port_variables: &["ZEPHCAST_REDIS_PORT"],
    versions: None,
    clusters: false,
    ports: 1,
    // Redis replaces its command line by `redis-server 127.0.0.1:16399`.
    recognises: |command_line, port| command_line.contains("redis-server") && command_line.contains(&port.to_string()),
};

const PACKAGE: Package = Package {
    program: "redis-server",
    package: "redis-server",
    advice: "Install Redis 7 (Debian, Ubuntu: sudo apt-get install redis-server; Fedora: sudo dnf install redis; \
             macOS: brew install redis), or start Docker, or set REDIS_URL.",
};

pub(super) async fn install() -> anyhow::Result<PathBuf> {
    packages::ensure(&PACKAGE).await
}

pub(super) fn commands(site: &Site) -> Vec<Command> {
    let port = site.nodes[0][0].to_string();
    let mut command = Command::new(&site.installed);
    command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
    // Fault tests need DEBUG, which is off by default from Redis 7 on.
    command.args(["--enable-debug-command", "local", "--dir"]).arg(&site.data);
    vec![command]
}

/// Whether the server has loaded its data and talks, if only to ask for a password.
pub(super) async fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(b"PING\r\n").await?;
    let mut reply = [0; 16];
    let read = socket.read(&mut reply).await?;
    Ok(reply[..read].starts_with(b"+PONG") || reply[..read].starts_with(b"-NOAUTH"))
}
