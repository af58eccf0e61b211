use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::{Direction, Proxy};

const PATIENCE: Duration = Duration::from_secs(10);
/// How long "nothing comes" is watched.
const SILENCE: Duration = Duration::from_millis(150);

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = socket.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    address
}

async fn laboratory() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(echo_server().await).await.unwrap();
    let client = TcpStream::connect(proxy.addr()).await.unwrap();
    (proxy, client)
}

async fn round_trip(client: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
    client.write_all(text).await?;
    let mut echoed = vec![0; text.len()];
    timeout(PATIENCE, client.read_exact(&mut echoed)).await.expect("the echo comes in time")?;
    Ok(echoed)
}

/// What still comes until the connection ends, and how it ended.
async fn rest(client: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match timeout(PATIENCE, client.read(&mut buffer)).await.expect("the connection ends in time") {
            Ok(0) => return (bytes, Ok(())),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

fn is_reset(ended: &io::Result<()>) -> bool {
    ended.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn forwards_counts_and_passes_an_orderly_end_on() {
    let (proxy, mut client) = laboratory().await;
    let payload: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    let echoed = {
        let (mut reader, mut writer) = client.split();
        let send = async {
            writer.write_all(&payload).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut echoed = Vec::new();
        let receive = timeout(PATIENCE, reader.read_to_end(&mut echoed));
        let (_, received) = tokio::join!(send, receive);
        received.expect("the end of the stream arrives").unwrap();
        echoed
    };
    assert_eq!(echoed, payload);
    let counters = proxy.until(|counters| counters.open == 0).await;
    assert_eq!((counters.from_client, counters.from_server), (300_000, 300_000));
    assert_eq!((counters.accepted.len(), counters.reset, counters.swallowed), (1, 0, 0));
}

#[tokio::test]
async fn latency_delays_each_byte_alike_however_close_they_follow() {
    let (proxy, mut client) = laboratory().await;
    proxy.set_latency(Duration::from_secs(1));
    let sent = Mutex::new(VecDeque::new());
    let (mut reader, mut writer) = client.split();
    let send = async {
        for _ in 0..16 {
            sent.lock().unwrap().push_back(Instant::now());
            writer.write_all(b"x").await.unwrap();
            // The stimulus itself: one byte each 50 ms.
            sleep(Duration::from_millis(50)).await;
        }
    };
    let receive = async {
        for _ in 0..16 {
            timeout(PATIENCE, reader.read_u8()).await.unwrap().unwrap();
            let took = sent.lock().unwrap().pop_front().unwrap().elapsed();
            assert!(took >= Duration::from_secs(2), "1 s each way, took {took:?}");
            assert!(took < Duration::from_millis(2600), "it waited for the byte before it: {took:?}");
        }
    };
    tokio::join!(send, receive);
    proxy.heal();
    let started = Instant::now();
    round_trip(&mut client, b"fast").await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_bandwidth_limit_holds_and_can_be_lifted() {
    let (proxy, mut client) = laboratory().await;
    proxy.set_bandwidth(Some(4_000));
    let started = Instant::now();
    round_trip(&mut client, &[7; 4_000]).await.unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(1), "4,000 bytes at 4,000 a second, took {took:?}");
    proxy.set_bandwidth(None);
    let started = Instant::now();
    round_trip(&mut client, &[7; 4_000]).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_black_hole_swallows_in_silence_and_resets_when_lifted() {
    for direction in [Direction::FromClient, Direction::FromServer] {
        let (proxy, mut client) = laboratory().await;
        round_trip(&mut client, b"before").await.unwrap();
        proxy.set_black_hole(&[direction]);
        client.write_all(b"lost").await.unwrap();
        let counters = proxy.until(|counters| counters.swallowed == 4).await;
        let reached_server = if direction == Direction::FromClient { 6 } else { 10 };
        assert_eq!(counters.from_client, reached_server);
        let silence = timeout(SILENCE, client.read_u8()).await;
        assert!(silence.is_err(), "neither bytes nor an end may come, got {silence:?}");
        proxy.set_black_hole(&[]);
        let (bytes, ended) = rest(&mut client).await;
        assert!(bytes.is_empty() && is_reset(&ended), "{bytes:?} {ended:?}");
    }
}

#[tokio::test]
async fn a_connection_that_lost_nothing_survives_a_black_hole() {
    let (proxy, mut client) = laboratory().await;
    round_trip(&mut client, b"before").await.unwrap();
    proxy.set_black_hole(Direction::BOTH);
    proxy.heal();
    assert_eq!(round_trip(&mut client, b"after").await.unwrap(), b"after");
}

#[tokio::test]
async fn what_is_held_back_arrives_late_and_complete() {
    let (proxy, mut client) = laboratory().await;
    proxy.set_hold(Direction::BOTH);
    client.write_all(b"late").await.unwrap();
    assert!(timeout(SILENCE, client.read_u8()).await.is_err());
    proxy.set_hold(&[]);
    let mut echoed = [0; 4];
    timeout(PATIENCE, client.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(&echoed, b"late");
}

#[tokio::test]
async fn reset_breaks_all_open_connections_and_no_later_one() {
    let (proxy, mut first) = laboratory().await;
    let mut second = TcpStream::connect(proxy.addr()).await.unwrap();
    round_trip(&mut first, b"1").await.unwrap();
    round_trip(&mut second, b"2").await.unwrap();
    proxy.reset();
    for client in [&mut first, &mut second] {
        let (_, ended) = rest(client).await;
        assert!(is_reset(&ended), "{ended:?}");
    }
    let mut third = TcpStream::connect(proxy.addr()).await.unwrap();
    round_trip(&mut third, b"3").await.unwrap();
    let counters = proxy.until(|counters| counters.open == 1).await;
    assert_eq!((counters.accepted.len(), counters.reset), (3, 2));
    assert!(counters.accepted.is_sorted());
}

#[tokio::test]
async fn down_refuses_new_connections_and_leaves_open_ones_alone() {
    let (proxy, mut client) = laboratory().await;
    round_trip(&mut client, b"before").await.unwrap();
    proxy.down().await;
    let refused = TcpStream::connect(proxy.addr()).await;
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    round_trip(&mut client, b"still here").await.unwrap();
    proxy.up().await.unwrap();
    let mut later = TcpStream::connect(proxy.addr()).await.unwrap();
    round_trip(&mut later, b"again").await.unwrap();
}

#[tokio::test]
async fn a_cut_from_the_server_lets_exactly_its_bytes_through() {
    for allowed in [0, 1, 5, 9] {
        let (proxy, mut client) = laboratory().await;
        round_trip(&mut client, b"before").await.unwrap();
        proxy.cut_after(Direction::FromServer, allowed);
        client.write_all(b"0123456789").await.unwrap();
        let (bytes, ended) = rest(&mut client).await;
        assert_eq!(bytes, &b"0123456789"[..allowed as usize]);
        assert!(is_reset(&ended), "{ended:?}");
        let mut next = TcpStream::connect(proxy.addr()).await.unwrap();
        round_trip(&mut next, b"the cut happens once").await.unwrap();
    }
}

#[tokio::test]
async fn a_cut_from_the_client_hands_the_server_exactly_what_passed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
    proxy.cut_after(Direction::FromClient, 12);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(b"hello ").await.unwrap();
    client.write_all(b"world, and no more").await.unwrap();
    let mut received = Vec::new();
    timeout(PATIENCE, server.read_to_end(&mut received)).await.unwrap().unwrap();
    assert_eq!(received, b"hello world,");
    let (_, ended) = rest(&mut client).await;
    assert!(is_reset(&ended), "{ended:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_shows_as_a_reset() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(closed).await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (_, ended) = rest(&mut client).await;
    assert!(is_reset(&ended), "{ended:?}");
}

#[tokio::test]
async fn another_server_is_for_new_connections_alone() {
    let (proxy, mut old) = laboratory().await;
    round_trip(&mut old, b"before").await.unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.lead_to(other.local_addr().unwrap());
    let _new = TcpStream::connect(proxy.addr()).await.unwrap();
    timeout(PATIENCE, other.accept()).await.unwrap().unwrap();
    assert_eq!(round_trip(&mut old, b"as before").await.unwrap(), b"as before");
}
