//! Trimming and deleting, also of much and of what former groups left.

use crate::prelude::*;

#[tokio::test(flavor = "multi_thread")]
async fn much_is_trimmed_in_steps_and_to_the_entry() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("trimmed-much");
    let fill = "for i = 1, 25050 do redis.call('XADD', KEYS[1], '*', 'data', 'x') end return 'done'";
    assert_eq!(server.cli(&["EVAL", fill, "1", stream.as_str()]), "done");
    driver.admin().create_group(&stream, &group(), Start::Latest).await.unwrap();
    publish(&driver, &stream, &messages(3)).await;
    server.cli(&["CONFIG", "RESETSTAT"]);
    assert_eq!(driver.admin().trim(&stream).await.unwrap(), 25_049, "the newest of the settled ones stays");
    assert_eq!(server.cli(&["XLEN", stream.as_str()]), "4");
    let scripts = server.cli(&["INFO", "commandstats"]);
    let steps = scripts.lines().find(|line| line.starts_with("cmdstat_xtrim:")).expect("it was trimmed").to_owned();
    let steps: u32 = steps.split(['=', ',']).nth(1).expect("calls").parse().expect("a number");
    assert!(steps >= 4, "{steps} steps for 25,000 entries");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_stream_takes_what_former_groups_left_and_nothing_else() {
    let server = Server::own(&[]);
    let driver = server.driver().await;
    for stream in ["orders", "[a-z]?", "{tag}orders"].map(|name| StreamName::new(name).expect("a valid name")) {
        let other = StreamName::new(format!("x{stream}")).expect("a valid name");
        for stream in [&stream, &other] {
            publish(&driver, stream, &messages(1)).await;
            let mut member = Joined::new(&driver, stream, "a").await;
            let held = member.receive(1).await;
            let later = crate::settle::later(&held[0], Duration::from_secs(60), 1);
            assert!(member.other(&held[0], later).await.is_empty());
            server.cli(&["XGROUP", "DESTROY", stream.as_str(), "g"]);
        }
        let keys = server.cli(&["DBSIZE"]);
        assert_eq!(keys, "8", "two streams, each with three helpers: {}", server.cli(&["KEYS", "*"]));
        driver.admin().delete_stream(&stream).await.unwrap();
        assert_eq!(server.cli(&["DBSIZE"]), "4", "{}", server.cli(&["KEYS", "*"]));
        assert_eq!(server.cli(&["EXISTS", other.as_str()]), "1");
        server.cli(&["FLUSHALL"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_spares_streams_is_no_risk() {
    let server = Server::own(&["--maxmemory-policy", "volatile-lru"]);
    let driver = server.driver().await;
    let risky = async || {
        let check = driver.admin().check().await.unwrap();
        check.warnings.iter().any(|warning| warning.kind == "evicting_policy")
    };
    assert!(!risky().await, "streams have no time to live");
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    assert!(risky().await);
}
