//! The private server of the fault tests does what they rely on.

use std::io;
use std::time::Duration;

use integration_tests::redis_server::{Append, RedisOptions, RedisServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn started(options: RedisOptions) -> RedisServer {
    RedisServer::start(options).await.expect("redis-server starts")
}

#[tokio::test]
async fn what_was_confirmed_survives_a_kill_with_the_file_synced_always() {
    let mut server = started(RedisOptions::default()).await;
    let url = server.url();
    assert_eq!(server.cli(&["SET", "key", "kept"]).await.unwrap(), "OK");
    server.kill9().unwrap();
    assert_eq!(TcpStream::connect(server.addr()).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(server.stop().unwrap_err().kind(), io::ErrorKind::NotConnected);
    server.restart().await.unwrap();
    assert_eq!(server.cli(&["GET", "key"]).await.unwrap(), "kept");
    assert_eq!(server.url(), url);
}

#[tokio::test]
async fn without_a_file_a_restart_starts_empty() {
    let mut server = started(RedisOptions::default().append(Append::Off)).await;
    server.cli(&["SET", "key", "gone"]).await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(server.cli(&["EXISTS", "key"]).await.unwrap(), "0");
}

#[tokio::test]
async fn a_frozen_server_is_silent_until_it_goes_on() {
    let mut server = started(RedisOptions::default()).await;
    let mut socket = TcpStream::connect(server.addr()).await.unwrap();
    server.stop().unwrap();
    socket.write_all(b"PING\r\n").await.unwrap();
    let mut reply = [0; 7];
    assert!(timeout(Duration::from_millis(150), socket.read_exact(&mut reply)).await.is_err());
    server.cont().unwrap();
    timeout(Duration::from_secs(5), socket.read_exact(&mut reply)).await.unwrap().unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
    server.stop().unwrap();
    server.restart().await.expect("a frozen server can be restarted");
}

#[tokio::test]
async fn a_password_and_error_replies_are_told() {
    let server = started(RedisOptions::default().arguments(["--requirepass", "secret"])).await;
    let refused = server.cli(&["GET", "key"]).await.unwrap_err();
    assert!(refused.to_string().contains("NOAUTH"), "{refused}");
    assert_eq!(server.cli(&["--no-auth-warning", "-a", "secret", "DEBUG", "SLEEP", "0"]).await.unwrap(), "OK");
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_its_log() {
    let error = RedisServer::start(RedisOptions::default().arguments(["--no-such-option", "1"])).await.unwrap_err();
    assert!(error.to_string().contains("no-such-option"), "{error}");
}

#[tokio::test]
async fn dropping_it_ends_the_process_and_removes_its_files() {
    let server = started(RedisOptions::default()).await;
    let (address, directory) = (server.addr(), server.directory().to_owned());
    assert!(directory.join("redis.log").exists());
    drop(server);
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!directory.exists());
}
