//! The private RabbitMQ of the fault tests does what they rely on.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use integration_tests::amqp::{self, Session};
use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

async fn started(options: RabbitOptions) -> RabbitServer {
    RabbitServer::start(options).await.expect("RabbitMQ starts")
}

/// All that management answers.
async fn management(server: &RabbitServer, request: &str, body: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect(server.management_addr()).await?;
    let length = body.len();
    let fixed = "Host: localhost\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nConnection: close";
    let headers = format!("{request} HTTP/1.1\r\n{fixed}\r\nContent-Length: {length}\r\n\r\n");
    socket.write_all(format!("{headers}{body}").as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_killed_server_is_gone_and_comes_back_with_its_data() {
    let mut server = started(RabbitOptions::default()).await;
    let url = server.url();
    let declared = management(&server, "PUT /api/queues/%2f/kept", r#"{"durable":true}"#).await.unwrap();
    assert!(declared.starts_with("HTTP/1.1 201"), "{declared}");
    let hashing = r#"{"type":"x-consistent-hash","durable":true}"#;
    let declared = management(&server, "PUT /api/exchanges/%2f/hashing", hashing).await.unwrap();
    assert!(declared.starts_with("HTTP/1.1 201"), "{declared}");
    server.write_down().await.unwrap();

    server.kill9().unwrap();
    assert_eq!(TcpStream::connect(server.addr()).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(server.stop().unwrap_err().kind(), io::ErrorKind::NotConnected);

    server.restart().await.unwrap();
    assert_eq!(server.url(), url);
    assert_eq!(server.ctl(&["list_queues", "--no-table-headers", "name"]).await.unwrap(), "kept");
    let exchanges = server.ctl(&["list_exchanges", "name", "type"]).await.unwrap();
    assert!(exchanges.contains("hashing\tx-consistent-hash"), "{exchanges}");
    Session::open(server.addr()).await.unwrap();
}

#[tokio::test]
async fn a_frozen_server_is_silent_until_it_goes_on() {
    let mut server = started(RabbitOptions::default()).await;
    let mut socket = TcpStream::connect(server.addr()).await.unwrap();
    server.stop().unwrap();
    socket.write_all(amqp::HEADER).await.unwrap();
    assert!(timeout(Duration::from_millis(150), socket.readable()).await.is_err());
    server.cont().unwrap();
    let start = timeout(Duration::from_secs(10), amqp::method(&mut socket)).await.unwrap().unwrap();
    assert_eq!(start.name, amqp::CONNECTION_START);
    server.stop().unwrap();
    server.restart().await.expect("a frozen server can be restarted");
}

#[tokio::test]
async fn who_publishes_is_blocked_while_memory_is_short_and_connections_are_closed_on_demand() {
    let server = started(RabbitOptions::default()).await;
    let mut session = Session::open(server.addr()).await.unwrap();
    server.raise_memory_alarm().await.unwrap();
    session.publish("to-nobody", b"x").await.unwrap();
    assert_eq!(session.hears().await.unwrap(), amqp::CONNECTION_BLOCKED);
    server.clear_memory_alarm().await.unwrap();
    assert_eq!(session.hears().await.unwrap(), amqp::CONNECTION_UNBLOCKED);

    server.close_all_connections().await.unwrap();
    assert_eq!(session.hears().await.unwrap(), amqp::CONNECTION_CLOSE);
    Session::open(server.addr()).await.expect("the server takes new ones");
}

#[tokio::test]
async fn what_cannot_be_done_is_told() {
    let error = RabbitServer::start(RabbitOptions::default().setting("no_such_setting", 1)).await.unwrap_err();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
    let server = started(RabbitOptions::default()).await;
    let error = server.ctl(&["delete_queue", "missing"]).await.unwrap_err();
    assert!(error.to_string().contains("delete_queue") && error.to_string().contains("missing"), "{error}");
}

#[tokio::test]
async fn dropping_it_ends_its_processes_and_removes_its_files() {
    let server = started(RabbitOptions::default()).await;
    let (address, directory) = (server.addr(), server.directory().to_owned());
    assert!(directory.join("rabbitmq.log").exists());
    assert!(processes(&directory).iter().any(|name| name == "epmd"), "{:?}", processes(&directory));
    drop(server);
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!directory.exists());
    // Helpers of the server end when they notice that it is gone.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes(&directory).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", processes(&directory));
        sleep(Duration::from_millis(20)).await;
    }
}

/// The names of those whose home is there.
fn processes(home: &Path) -> Vec<String> {
    let mark = format!("HOME={}\0", home.display());
    let folders = fs::read_dir("/proc").expect("the processes of this machine").filter_map(Result::ok);
    let at_home = folders.map(|folder| folder.path()).filter(|process| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.windows(mark.len()).any(|part| part == mark.as_bytes())
    });
    at_home.filter_map(|process| Some(fs::read_to_string(process.join("comm")).ok()?.trim_end().to_owned())).collect()
}
