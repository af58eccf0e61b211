//! A network on which a message needs longer than any timeout.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::prelude::*;

/// Passes on what the server says at one MiB a second for each connection; returns its port.
async fn slow_way_to(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let own = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let far = TcpStream::connect(("127.0.0.1", port)).await.expect("the server");
                let (mut near_in, mut near_out) = near.into_split();
                let (mut far_in, mut far_out) = far.into_split();
                let there = async { tokio::io::copy(&mut near_in, &mut far_out).await.map(drop) };
                let back = async {
                    let mut buffer = vec![0; 32 << 10];
                    loop {
                        let read = far_in.read(&mut buffer).await?;
                        if read == 0 {
                            return Ok::<(), std::io::Error>(());
                        }
                        near_out.write_all(&buffer[..read]).await?;
                        tokio::time::sleep(Duration::from_secs_f64(read as f64 / (1 << 20) as f64)).await;
                    }
                };
                let _ = tokio::select! { done = there => done, done = back => done };
            });
        }
    });
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_takes_longer_than_the_timeout_comes_in_the_end() {
    let server = Server::own(&[]);
    let stream = unique_stream("slow");
    let near = server.driver().await;
    let slow =
        RedisConfig::new("127.0.0.1", slow_way_to(server.port).await).command_timeout(Duration::from_millis(300));
    let driver = RedisDriver::connect(slow).await.unwrap();
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    publish(&near, &stream, &[Message::new(vec![b'x'; 4 << 20])]).await;
    let until = Instant::now() + Duration::from_secs(60);
    let received = loop {
        assert!(Instant::now() < until, "not delivered");
        let credit = Credit { messages: 9, bytes: 16 << 20, suspect: false };
        match member.intake.fetch(credit).await {
            Ok(Fetched::Batch(batch)) => break batch.messages,
            Ok(_) => {}
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    };
    assert_eq!(received[0].message.byte_len(), 4 << 20);
}
