use rdkafka::error::RDKafkaErrorCode as Code;

use super::*;
use crate::error::{error, told};

const REFUSED: (Code, &str) =
    (Code::BrokerTransportFailure, "h:1/bootstrap: Connect to h:1 failed: Connection refused");
const PLAIN: (Code, &str) = (
    Code::BrokerTransportFailure,
    "h:1/1: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
);
const DOWN: (Code, &str) = (Code::AllBrokersDown, "1/1 brokers are down");
const PASSWORD: (Code, &str) = (Code::Authentication, "h:1/1: SASL authentication error: Authentication failed");

fn hear(trouble: &Trouble, heard: &[(Code, &str)]) {
    for (code, reason) in heard {
        trouble.hear(told("connect", *code, reason));
    }
}

fn timeout() -> Error {
    error(ErrorKind::Timeout, "publish", "no answer in 5 s")
}

#[test]
fn what_says_why_stays_until_it_is_over() {
    let trouble = Trouble::default();
    hear(&trouble, &[PASSWORD, DOWN, REFUSED, DOWN]);
    let explained = trouble.explain(timeout());
    assert_eq!(explained.kind(), ErrorKind::Auth);
    assert_eq!(explained.to_string(), "publish on kafka: h:1: the credentials were refused");
    trouble.is_over();
    assert!(trouble.last().is_none());
    assert_eq!(trouble.explain(timeout()).to_string(), timeout().to_string());
}

#[test]
fn a_member_is_told_what_is_believed_and_goes_on_waiting() {
    let trouble = Trouble::default();
    hear(&trouble, &[PASSWORD]);
    let explained = trouble.explain_to_member(timeout());
    assert_eq!(explained.kind(), ErrorKind::Timeout);
    assert!(explained.is_retryable() && explained.to_string().contains("the credentials were refused"), "{explained}");
    trouble.is_over();
    assert_eq!(trouble.explain_to_member(timeout()).to_string(), timeout().to_string());
}

#[test]
fn what_may_pass_is_told_and_changes_no_kind() {
    let trouble = Trouble::default();
    hear(&trouble, &[DOWN, REFUSED, DOWN, DOWN, DOWN, DOWN]);
    let explained = trouble.explain(timeout());
    assert_eq!(explained.kind(), ErrorKind::Timeout);
    assert!(explained.to_string().contains("no answer in 5 s (h:1: nobody listens there"), "{explained}");
    let missing = error(ErrorKind::NotFound, "publish", "no such topic");
    assert_eq!(trouble.explain(missing).kind(), ErrorKind::NotFound);
}

#[test]
fn a_suspicion_is_believed_when_it_is_confirmed() {
    let start = Instant::now();
    let hear_at = |trouble: &Trouble, ms: u64, (code, reason): (Code, &str)| {
        trouble.hear_at(told("connect", code, reason), start + Duration::from_millis(ms));
    };
    let trouble = Trouble::default();
    for (ms, heard) in [(0, PLAIN), (0, PLAIN), (1, DOWN), (1, DOWN), (180, DOWN), (181, DOWN)] {
        hear_at(&trouble, ms, heard);
    }
    assert_eq!(trouble.explain(timeout()).kind(), ErrorKind::Timeout);
    hear_at(&trouble, 700, DOWN);
    let explained = trouble.explain(timeout());
    assert_eq!(explained.kind(), ErrorKind::Auth);
    assert!(explained.to_string().contains("kafka://"), "{explained}");
    // A broker that went down: after that, nobody listens.
    let trouble = Trouble::default();
    for (ms, heard) in [(0, PLAIN), (180, PLAIN), (200, REFUSED), (201, DOWN), (500, DOWN), (1_000, DOWN)] {
        hear_at(&trouble, ms, heard);
    }
    assert_eq!(trouble.explain(timeout()).kind(), ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_cause_hears_of_it_at_once() {
    let trouble = Trouble::default();
    let waiting = tokio::spawn({
        let trouble = trouble.clone();
        async move { trouble.telling().await }
    });
    tokio::task::yield_now().await;
    hear(&trouble, &[DOWN, REFUSED]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    hear(&trouble, &[PASSWORD]);
    assert_eq!(waiting.await.unwrap().kind(), ErrorKind::Auth);
    // And who comes late.
    assert_eq!(trouble.telling().await.kind(), ErrorKind::Auth);
}
