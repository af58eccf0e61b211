//! The private Kafka of the fault tests does what they rely on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use integration_tests::certificates::{Authority, Certificate, LOOPBACK, Validity};
use integration_tests::kafka_server::{KafkaOptions, KafkaServer, Listener};
use integration_tests::proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

async fn started(options: KafkaOptions) -> KafkaServer {
    KafkaServer::start(options).await.expect("Kafka starts")
}

/// `ApiVersions`, version 0, which a node answers whatever state its cluster is in.
async fn ask(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]).await
}

async fn reply(socket: &mut TcpStream) -> io::Result<u32> {
    let length = socket.read_u32().await?;
    let mut reply = vec![0; length as usize];
    socket.read_exact(&mut reply).await?;
    Ok(u32::from_be_bytes([reply[0], reply[1], reply[2], reply[3]]))
}

async fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut socket = TcpStream::connect(address).await?;
    ask(&mut socket).await?;
    Ok(reply(&mut socket).await? == 7)
}

#[tokio::test]
async fn a_killed_node_is_gone_and_comes_back_with_its_data() {
    let mut server = started(KafkaOptions::default()).await;
    let (address, url, pid) = (server.addr(0, Listener::Plain), server.url(), server.pid(0));
    server.tool(TOPICS, &["--create", "--topic", "kept", "--partitions", "3"]).await.unwrap();
    assert!(answers(address).await.unwrap());

    server.kill9(0).unwrap();
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(server.stop(0).unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(server.pid(0), None);

    server.restart(0).await.unwrap();
    assert_eq!((server.url(), server.pid(0) == pid), (url, false));
    let listed = server.kcat(&["-L"]).await.unwrap();
    assert!(listed.contains("topic \"kept\" with 3 partitions"), "{listed}");
}

#[tokio::test]
async fn a_frozen_node_is_silent_until_it_goes_on() {
    let mut server = started(KafkaOptions::default()).await;
    let mut socket = TcpStream::connect(server.addr(0, Listener::Plain)).await.unwrap();
    server.stop(0).unwrap();
    ask(&mut socket).await.unwrap();
    assert!(timeout(Duration::from_millis(150), socket.readable()).await.is_err());
    server.cont(0).unwrap();
    assert_eq!(timeout(Duration::from_secs(10), reply(&mut socket)).await.unwrap().unwrap(), 7);
    server.stop(0).unwrap();
    server.restart(0).await.expect("a frozen node can be restarted");
}

#[tokio::test]
async fn a_cluster_of_three_lives_on_without_one_and_comes_back_from_a_crash_of_all() {
    let mut server = started(KafkaOptions::default().nodes(3)).await;
    server.tool(TOPICS, &["--create", "--topic", "copied"]).await.unwrap();
    let copies = server.tool(TOPICS, &["--describe", "--topic", "copied"]).await.unwrap();
    assert!(copies.contains("ReplicationFactor: 3") && copies.contains("min.insync.replicas=2"), "{copies}");

    server.kill9(1).unwrap();
    assert!(answers(server.addr(0, Listener::Plain)).await.unwrap());
    server.tool(TOPICS, &["--list"]).await.expect("two of three are a majority");
    server.restart(1).await.unwrap();
    server.shut_down(2).await.unwrap();
    assert_eq!(server.pid(2), None);

    for node in 0..server.nodes() {
        server.kill9(node).unwrap();
    }
    server.restart_all().await.unwrap();
    assert_eq!(server.tool(TOPICS, &["--list"]).await.unwrap(), "copied");
}

#[tokio::test]
async fn who_connects_through_a_proxy_is_led_through_it() {
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))).await.unwrap();
    let server = started(KafkaOptions::default().proxied([proxy.addr()])).await;
    proxy.lead_to(server.addr(0, Listener::Proxied));
    assert!(answers(proxy.addr()).await.unwrap());
    let listed = server.kcat_on(Listener::Proxied, &["-L"]).await.unwrap();
    assert!(listed.contains(&format!("at {}", proxy.addr())), "{listed}");
}

#[tokio::test]
async fn a_password_lets_in_and_an_access_control_list_lets_do() {
    let server = started(KafkaOptions::default().user("alice", "secret").authorized()).await;
    server.tool(TOPICS, &["--create", "--topic", "guarded"]).await.unwrap();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        assert_eq!(topics_by_password(&server, mechanism, "secret").await.unwrap(), "", "{mechanism}");
    }
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let refused = topics_by_password(&server, mechanism, "guessed").await.unwrap_err();
        assert!(refused.to_string().contains("SaslAuthenticationException"), "{refused}");
    }
    let allow = ["--add", "--allow-principal", "User:alice", "--operation", "Describe", "--topic", "guarded"];
    server.tool("org.apache.kafka.tools.AclCommand", &allow).await.unwrap();
    assert_eq!(topics_by_password(&server, "SCRAM-SHA-512", "secret").await.unwrap(), "guarded");
}

/// The topics that alice may see.
async fn topics_by_password(server: &KafkaServer, mechanism: &str, password: &str) -> io::Result<String> {
    let module = if mechanism == "PLAIN" { "plain.PlainLoginModule" } else { "scram.ScramLoginModule" };
    let login =
        format!("org.apache.kafka.common.security.{module} required username=\"alice\" password=\"{password}\";");
    let protocol = "security.protocol=SASL_PLAINTEXT";
    let file = server.directory().join("alice.properties");
    std::fs::write(&file, format!("{protocol}\nsasl.mechanism={mechanism}\nsasl.jaas.config={login}\n"))?;
    let arguments = ["--list", "--command-config", &file.display().to_string()];
    server.tool_on(Listener::Sasl, TOPICS, &arguments).await
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_authority_in_its_time_and_for_its_host() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let certificate = authority.issue("server", LOOPBACK, Validity::Good).unwrap();
    let server = started(KafkaOptions::default().certificate(&certificate).user("alice", "secret")).await;
    list_by_tls(&server, &certificate).await.unwrap();
    let foreign = other.issue("foreign", LOOPBACK, Validity::Good).unwrap();
    let refused = list_by_tls(&server, &foreign).await.unwrap_err();
    assert!(refused.to_string().contains("certificate verify failed"), "{refused}");
    drop(server);

    for (name, hosts, validity) in
        [("expired", LOOPBACK, Validity::Expired), ("elsewhere", &["DNS:kafka.example"][..], Validity::Good)]
    {
        let certificate = authority.issue(name, hosts, validity).unwrap();
        let server = started(KafkaOptions::default().certificate(&certificate)).await;
        let refused = list_by_tls(&server, &certificate).await.unwrap_err();
        assert!(refused.to_string().contains("certificate verify failed"), "{name}: {refused}");
    }
}

async fn list_by_tls(server: &KafkaServer, trusting: &Certificate) -> io::Result<String> {
    let authority = format!("ssl.ca.location={}", trusting.authority().display());
    let protocol = ["-m", "3", "-X", "security.protocol=SSL", "-X", "ssl.endpoint.identification.algorithm=https"];
    server.kcat_on(Listener::Tls, &[&protocol[..], &["-X", &authority, "-L"]].concat()).await
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let error = KafkaServer::start(KafkaOptions::default().property("log.roll.hours", "soon")).await.unwrap_err();
    assert!(error.to_string().contains("log.roll.hours"), "{error}");
    let error =
        KafkaServer::start(KafkaOptions::default().property("authorizer.class.name", "None")).await.unwrap_err();
    assert!(error.to_string().contains("its log ends") && error.to_string().contains("None"), "{error}");
}

#[tokio::test]
async fn dropping_it_ends_its_processes_and_removes_its_files() {
    let server = started(KafkaOptions::default()).await;
    let (address, directory) = (server.addr(0, Listener::Plain), server.directory().to_owned());
    assert!(directory.join("node-0/kafka.log").exists());
    drop(server);
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!directory.exists());
}
