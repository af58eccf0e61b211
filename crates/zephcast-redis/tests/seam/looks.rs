//! What a status says holds at one moment.

use crate::prelude::*;
use crate::settle::later;

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_is_never_out_of_sight() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("in-sight");
    publish(&driver, &stream, &messages(1)).await;
    let mut member = Joined::new(&driver, &stream, "a").await;
    let moving = async {
        for _ in 0..300 {
            let received = member.receive(1).await;
            member.other(&received[0], later(&received[0], Duration::from_millis(1), 1)).await;
        }
    };
    let looking = async {
        let looker = server.driver().await;
        loop {
            let status = looker.group_status(&stream, &group()).await.unwrap();
            assert_eq!(status.lag, Some(1), "{status:?}");
        }
    };
    tokio::select! {
        () = moving => {}
        () = looking => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_is_counted_right_and_in_small_pieces() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("counted");
    let small: Vec<Message> = (0..5_000).map(|n| Message::new(n.to_string())).collect();
    let large: Vec<Message> = (0..40).map(|_| Message::new(vec![b'x'; 1 << 20])).collect();
    driver.admin().create_group(&stream, &group(), Start::Earliest).await.unwrap_err();
    publish(&driver, &stream, &small).await;
    driver.admin().create_group(&stream, &group(), Start::Earliest).await.unwrap();
    for some in large.chunks(10) {
        publish(&driver, &stream, some).await;
    }
    let positions = publish(&driver, &stream, &small).await;
    // From now on the server does not know how many are unread.
    server.cli(&["XDEL", stream.as_str(), &positions[17].to_string()]);
    server.cli(&["CONFIG", "RESETSTAT"]);
    server.cli(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    let status = driver.group_status(&stream, &group()).await.unwrap();
    assert_eq!(status.lag, Some(10_039));
    let calls: u64 = server
        .cli(&["INFO", "commandstats"])
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok())
        .expect("scripts were run");
    assert!(calls >= 5, "40 MiB were looked at in {calls} calls");
}
