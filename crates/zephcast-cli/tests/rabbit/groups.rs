//! What is said of a group, beside what RabbitMQ itself says.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cases::lab::{Lab, payloads};

#[tokio::test]
async fn a_groups_status_agrees_with_the_brokers_own_list() {
    let lab = Lab::own().await;
    let lines: Vec<_> = (0..7).map(|n| format!("m{n}")).collect();
    lab.publish("s", &lines).await;
    // One is a dead letter, one waits for later, and some are out.
    let reject = ["consume", "s", "--group", "g", "--exec", "exit 65", "--count", "1"];
    assert_eq!(lab.run(&reject, "").await.code, 0);
    let consume = ["consume", "s", "--group", "g", "--member", "me", "--settle", "stdin", "--prefetch", "2"];
    let mut talk = lab.talk(&consume);
    let failed = talk.until("delivery").await;
    talk.say(&json!({"nack": failed["token"], "after_ms": 3_600_000}).to_string()).await;
    talk.until("settled").await;
    talk.until("delivery").await;
    // One more than was asked for may be out: see that all is told, whatever it is.
    // The figures of one look are read one after the other.
    let is_calm = |status: &Value| status["in_flight"].as_u64() >= Some(2) && status["lag"] == 6;
    let held = lab.status_when("s", is_calm).await;
    assert_eq!((&held["delayed"], &held["dead_letters"]), (&json!(1), &json!(1)), "{held}");
    let me = &held["members"][0];
    assert_eq!((&me["name"], &me["state"]), (&json!("me"), &json!("active")), "{held}");
    let out = me["in_flight"].as_u64().expect("it is known");
    assert_eq!(held["in_flight"], out, "{held}");
    assert_eq!((&me["prefetch"], &held["warnings"]), (&json!(2), &json!([])), "{held}");
    assert!(held["oldest_pending_ms"].is_u64() && me["idle_ms"].is_u64(), "{held}");

    // Ready, and delivered and not settled; the server counts those once a second.
    let server = lab.server.as_ref().expect("its own");
    let columns = ["name", "messages_ready", "messages_unacknowledged"];
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let list = server.ctl(&[&["list_queues", "--no-table-headers"][..], &columns].concat()).await.expect("a list");
        let of = |queue: &str| -> Vec<u64> {
            let line = list.lines().find(|line| line.split('\t').next() == Some(queue));
            line.map_or_else(Vec::new, |line| {
                line.split('\t').skip(1).filter_map(|figure| figure.parse().ok()).collect()
            })
        };
        let delayed: u64 = list.lines().filter(|line| line.starts_with("s.g.retry-")).map(of_ready).sum();
        if of("s.g") == [5 - out, out] && of("s.g.dead") == [1, 0] && delayed == 1 {
            break;
        }
        assert!(Instant::now() < until, "the command says {held}, the server\n{list}");
    }

    talk.hush();
    assert_eq!(talk.finish().await.0, 0);
    let left = lab.status_when("s", |status| status["in_flight"] == 0).await;
    assert_eq!((&left["lag"], &left["members"]), (&json!(6), &json!([])), "{left}");
}

fn of_ready(line: &str) -> u64 {
    line.split('\t').nth(1).expect("a figure").parse().expect("a number")
}

#[tokio::test]
async fn a_group_with_members_is_not_deleted_and_one_without_is() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.fill(&stream, 1).await;
    let mut member = lab.talk(&["consume", &stream, "--group", "g", "--member", "me", "--settle", "stdin"]);
    member.until("delivery").await;
    let delete = ["group", "delete", &stream, "g", "--yes"];
    let refused = lab.run(&delete, "").await;
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
    assert!(refused.stderr.contains("\"me\""), "{refused:?}");
    member.hush();
    assert_eq!(member.finish().await.0, 0);
    let deleted = lab.run(&delete, "").await;
    assert_eq!((deleted.code, deleted.of("deleted")[0]["group"].as_str()), (0, Some("g")), "{deleted:?}");
    let gone = lab.run(&delete, "").await;
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(gone.stderr.contains("\"g\""), "{gone:?}");
    assert_eq!(lab.run(&["stream", "delete", &stream, "--yes"], "").await.code, 0);
}

#[tokio::test]
async fn two_processes_of_a_group_share_its_messages() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    lab.ready(&stream).await;
    let consume = ["consume", &stream, "--group", "g", "--prefetch", "5", "--exec", "sleep 0.02", "--idle-exit", "2s"];
    let (mut one, mut other) = (lab.talk(&consume), lab.talk(&consume));
    one.until("assigned").await;
    other.until("assigned").await;
    let lines = lab.fill(&stream, 60).await;
    let (one, other) = tokio::join!(one.finish(), other.finish());
    let shares = [payloads(&one.1), payloads(&other.1)];
    assert_eq!((one.0, other.0), (0, 0), "{} {}", one.2, other.2);
    assert!(shares.iter().all(|share| share.len() > 10), "each has a share: {shares:?}");
    assert_eq!(shares.iter().map(Vec::len).sum::<usize>(), lines.len(), "none came twice");
    let all: BTreeSet<_> = shares.into_iter().flatten().collect();
    assert_eq!(all, lines.into_iter().collect());
}
