use zephcast_core::{Error, ErrorKind, MessageId};

use super::*;

fn receipt() -> Result<Receipt, PublishError> {
    Ok(Receipt { id: MessageId::new("id"), position: None })
}

fn unknown() -> Result<Receipt, PublishError> {
    Err(PublishError::Unknown(Error::new(ErrorKind::Timeout, "publish", "no answer")))
}

fn failed() -> Result<Receipt, PublishError> {
    Err(PublishError::Failed(Error::new(ErrorKind::TooLarge, "publish", "too large")))
}

fn record(outcomes: &[Result<Receipt, PublishError>]) -> (History, Vec<Message>) {
    let history = History::new("test");
    let messages: Vec<_> = outcomes.iter().map(|_| history.message(40)).collect();
    for (message, outcome) in messages.iter().zip(outcomes) {
        history.published(message.payload(), outcome);
    }
    (history, messages)
}

#[test]
fn a_message_has_the_size_asked_for_and_its_number_in_it() {
    let history = History::new("size");
    for bytes in [0, 30, 40, 1_000] {
        let message = history.message(bytes);
        assert!(message.payload().len() >= bytes);
        assert!(message.payload().len() <= bytes.max(40));
    }
    assert_eq!(decode("size", history.message(64).payload()), Some(5));
}

#[test]
fn any_changed_byte_and_any_cut_is_corrupt() {
    let payload = encode("test", 7, 64).into_bytes();
    for at in 0..payload.len() {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        assert_eq!(decode("test", &changed), None, "byte {at}");
        assert_eq!(decode("test", &payload[..at]), None, "cut at {at}");
    }
    assert_eq!(decode("other", &payload), None);
}

#[test]
fn once_each_is_exactly_once() {
    let (history, messages) = record(&[receipt(), receipt()]);
    for message in &messages {
        let number = history.delivered("a", message.payload()).expect("ours");
        history.settled("a", number);
    }
    history.findings().exactly_once().expect("clean");
    assert!(history.is_complete());
}

#[test]
fn a_receipt_without_a_delivery_is_a_loss_and_a_doubtful_publish_is_none() {
    let (history, _) = record(&[receipt(), unknown(), failed()]);
    assert_eq!(history.findings().lost, [1]);
    assert!(history.findings().at_least_once().is_err());
}

#[test]
fn a_failed_publish_that_is_delivered_was_no_failure() {
    let (history, messages) = record(&[failed()]);
    history.delivered("a", messages[0].payload());
    assert_eq!(history.findings().unpublished, [1]);
}

#[test]
fn a_repeat_is_allowed_before_the_settlement_and_never_after() {
    let (history, messages) = record(&[receipt()]);
    history.delivered("a", messages[0].payload());
    history.delivered("b", messages[0].payload());
    history.findings().at_least_once().expect("a took over by b");
    assert!(history.findings().exactly_once().is_err());
    history.settled("b", 1);
    history.delivered("c", messages[0].payload());
    assert!(history.findings().at_least_once().is_err());
}

#[test]
fn what_may_have_been_published_twice_may_come_twice() {
    let (history, messages) = record(&[unknown()]);
    for _ in 0..2 {
        history.delivered("a", messages[0].payload());
        history.settled("a", 1);
    }
    history.findings().exactly_once().expect("two publishes");
}

#[test]
fn foreign_payloads_are_corrupt() {
    let (history, _) = record(&[]);
    assert_eq!(history.delivered("a", b"something else"), None);
    assert!(history.findings().at_least_once().is_err());
}

#[test]
fn a_settlement_is_remembered_over_a_repeat_of_its_own() {
    let (history, messages) = record(&[receipt()]);
    for member in ["a", "b", "c"] {
        history.delivered(member, messages[0].payload());
        if member == "a" {
            history.settled("a", 1);
        }
    }
    let settled: Vec<_> = history.findings().repeated.iter().map(|repeat| repeat.settled_before).collect();
    assert_eq!(settled, [true, true]);
}

#[test]
fn a_confirmed_settlement_may_be_outlived_only_by_what_is_explained() {
    let (history, messages) = record(&[receipt()]);
    history.delivered("a", messages[0].payload());
    history.settled("a", 1);
    history.delivered("b", messages[0].payload());
    let findings = history.findings();
    findings.all_there().expect("nothing is lost");
    findings.settled_for_good(|repeat| repeat.again_by == "b").expect("b was frozen with it");
    assert!(findings.settled_for_good(|repeat| repeat.again_by == "a").is_err());
}
