//! Messages that become larger all of a sudden.

use crate::prelude::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_no_room_for_is_not_held() {
    const LARGE: usize = 60;
    let server = Server::own(&[]);
    let driver = server.driver().await;
    let stream = unique_stream("surplus");
    publish(&driver, &stream, &messages(1_000)).await;
    let mut member = Joined::with(&driver, &stream, |_| ()).await;
    let small = member.receive(1_000).await;
    assert!(member.ack(&small).await.is_empty());
    let script = "local body = string.rep('x', 1048576) \
        for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'n', i, 'data', body) end return 'done'";
    assert_eq!(server.cli(&["EVAL", script, "1", stream.as_str(), &LARGE.to_string()]), "done");

    let mut seen: Vec<usize> = Vec::new();
    let until = Instant::now() + Duration::from_secs(20);
    while seen.len() < LARGE {
        assert!(Instant::now() < until, "{} of {LARGE}", seen.len());
        let credit = Credit { messages: 1_000, bytes: 4 << 20, suspect: false };
        let Fetched::Batch(batch) = member.intake.fetch(credit).await.expect("fetched") else { continue };
        let bytes: usize = batch.messages.iter().map(|incoming| incoming.message.byte_len()).sum();
        assert!(bytes <= 5 << 20, "{bytes}");
        if seen.is_empty() {
            // The full window has the rest given back.
            member.wait_with_full_window().await;
            let pending = server.cli(&["XPENDING", stream.as_str(), "g"]);
            let returned = pending.lines().skip_while(|line| *line != "zephcast/returned").nth(1);
            assert!(returned.is_some_and(|count| count.parse::<usize>().unwrap() > LARGE / 2), "{pending}");
        }
        assert!(batch.messages.iter().all(|incoming| incoming.attempt == 1 && !incoming.suspect));
        seen.extend(
            batch.messages.iter().map(|i| i.message.headers().first_str("n").unwrap().parse::<usize>().unwrap()),
        );
        assert!(member.ack(&batch.messages).await.is_empty());
    }
    assert_eq!(seen, (1..=LARGE).collect::<Vec<_>>(), "each once, in order");
    assert!(server.cli(&["XPENDING", stream.as_str(), "g"]).starts_with('0'));
}
