use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use zephcast_core::driver::UnitSettlements;
use zephcast_core::{Message, Position, PositionStyle};

use super::*;
use crate::place::METADATA_BYTES;
use crate::record::{Notes, Outgoing};
use crate::simulation::{Lab, UNIT};

/// A member with so many deliveries, and nothing left to commit of what happened so far.
async fn handed_out(count: usize) -> (Lab, KafkaSettler, Vec<Token>) {
    let mut lab = Lab::new();
    let last = lab.publish(count).await;
    let tokens = lab.consume(last).await;
    let settler = KafkaSettler::new(lab.member.clone(), Keeper::start(lab.member.0.clone()));
    settler.commit().await.unwrap();
    (lab, settler, tokens)
}

/// Real groups refuse a commit when they are about to distribute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_moved_is_not_moved_again_when_the_commit_after_it_was_refused() {
    let (lab, settler, tokens) = handed_out(1).await;
    let token = tokens[0];
    let delay = Duration::from_secs(1);
    let retry = lab.member.topics.retry(crate::topics::Delay::of(delay)).to_owned();
    lab.cluster.create_topic(&retry, 1, 1).unwrap();
    // It exists, and whether this member reads it is of no interest.
    lab.member.assignment().helpers.insert(retry.clone());
    lab.member.assignment().topics.insert(retry.clone());
    let later = Disposition::Later {
        delay,
        attempts: 1,
        message: Box::new(Message::new("text")),
        origin: Position::new(PositionStyle::UnitOffset, UNIT, token),
        published_ms: None,
        first_failed_ms: None,
    };
    let (acked, others) = (Vec::new(), vec![(token, later)]);
    let unit = UnitSettlements { unit: UNIT, frontier: None, acked, had_failures: false, others };
    let mut settlement = Settlement { again: false, units: vec![unit] };
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR;
    lab.cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refusal; 3]);
    let mut refused = 0;
    while let Err(error) = settler.settle(&settlement).await {
        assert_eq!(error.operation(), "commit", "{error:?}");
        settlement.again = true;
        refused += 1;
        assert!(refused <= 3, "refused for ever");
    }
    assert!(refused > 0, "no commit was refused");
    let next = Outgoing::new(&Message::new("text"), &Notes::default()).unwrap();
    let (_, copies) = lab.producer.store(&retry, Some(0), next).await.unwrap();
    assert_eq!(copies, 1, "one copy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_few_metadata_are_taken_fewer_are_written_and_where_none_are_the_member_ends() {
    let (lab, settler, tokens) = handed_out(2).await;
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE;
    lab.cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refusal; 3]);
    lab.ack(&tokens[..1]);
    settler.commit().await.unwrap();
    assert_eq!(lab.member.assignment().commit.metadata, METADATA_BYTES / 8);
    assert!(!lab.member.assignment().has_failed());

    lab.cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refusal; 100]);
    lab.ack(&tokens[1..]);
    while !lab.member.assignment().has_failed() {
        assert_eq!(settler.commit().await.unwrap_err().kind(), ErrorKind::TooLarge);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_hears_that_the_last_commit_was_refused() {
    let (lab, settler, tokens) = handed_out(1).await;
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    lab.cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refusal; 100]);
    lab.ack(&tokens);
    let left = settler.leave(Vec::new(), Duration::from_secs(20)).await;
    assert_eq!(left.unwrap_err().kind(), ErrorKind::PermissionDenied);
}
