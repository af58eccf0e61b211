use std::error::Error as _;

use super::*;

#[test]
fn every_code_that_a_user_can_meet_has_its_kind() {
    use ErrorKind::*;
    for (code, expected) in [
        (Code::AllBrokersDown, Unavailable),
        (Code::BrokerTransportFailure, Unavailable),
        (Code::Resolve, Unavailable),
        (Code::NotLeaderForPartition, Unavailable),
        (Code::LeaderNotAvailable, Unavailable),
        (Code::CoordinatorLoadInProgress, Unavailable),
        (Code::CoordinatorNotAvailable, Unavailable),
        (Code::NotCoordinator, Unavailable),
        (Code::RebalanceInProgress, Unavailable),
        (Code::KafkaStorageError, Unavailable),
        (Code::MessageTimedOut, Timeout),
        (Code::RequestTimedOut, Timeout),
        (Code::OperationTimedOut, Timeout),
        (Code::Authentication, Auth),
        (Code::SaslAuthenticationFailed, Auth),
        (Code::SSL, Auth),
        (Code::UnsupportedSASLMechanism, Auth),
        (Code::IllegalSASLState, Auth),
        (Code::DelegationTokenExpired, Auth),
        (Code::TopicAuthorizationFailed, PermissionDenied),
        (Code::GroupAuthorizationFailed, PermissionDenied),
        (Code::ClusterAuthorizationFailed, PermissionDenied),
        (Code::UnknownTopicOrPartition, NotFound),
        (Code::UnknownPartition, NotFound),
        (Code::GroupIdNotFound, NotFound),
        (Code::OffsetOutOfRange, NotFound),
        (Code::TopicAlreadyExists, Conflict),
        (Code::NonEmptyGroup, Conflict),
        (Code::FencedInstanceId, Conflict),
        (Code::UnreleasedInstanceId, Conflict),
        (Code::InconsistentGroupProtocol, Conflict),
        (Code::GroupMaxSizeReached, Conflict),
        (Code::InvalidTopic, InvalidInput),
        (Code::InvalidPartitions, InvalidInput),
        (Code::InvalidReplicationFactor, InvalidInput),
        (Code::InvalidConfig, InvalidInput),
        (Code::PolicyViolation, InvalidInput),
        (Code::InvalidSessionTimeout, InvalidInput),
        (Code::InvalidGroupId, InvalidInput),
        (Code::InvalidRecord, InvalidInput),
        (Code::MessageSizeTooLarge, TooLarge),
        (Code::MessageBatchTooLarge, TooLarge),
        (Code::NotEnoughReplicas, Blocked),
        (Code::NotEnoughReplicasAfterAppend, Blocked),
        (Code::QueueFull, Blocked),
        (Code::ThrottlingQuotaExceeded, Blocked),
        (Code::UnsupportedVersion, Unsupported),
        (Code::TopicDeletionDisabled, Unsupported),
        (Code::UnknownMemberId, LeaseLost),
        (Code::IllegalGeneration, LeaseLost),
        (Code::FencedMemberEpoch, LeaseLost),
        (Code::StaleMemberEpoch, LeaseLost),
        (Code::AssignmentLost, LeaseLost),
        (Code::PurgeInflight, Closed),
        (Code::Fatal, Broker),
        (Code::OutOfOrderSequenceNumber, Broker),
        (Code::Unknown, Broker),
    ] {
        assert_eq!(kind_of(code), expected, "{code:?}");
    }
}

#[test]
fn the_cause_stays_reachable_and_is_not_repeated() {
    let error = translate("publish", KafkaError::MessageProduction(Code::MessageSizeTooLarge));
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().starts_with("publish on kafka: the message is larger"), "{error}");
    let source = error.source().and_then(|source| source.downcast_ref::<KafkaError>());
    assert_eq!(source, Some(&KafkaError::MessageProduction(Code::MessageSizeTooLarge)));
}

#[test]
fn what_a_user_set_is_not_repeated() {
    let mut config = rdkafka::ClientConfig::new();
    config.set("sasl.oauthbearer.method", "canary");
    let refused = config.create_native_config().map(drop).expect_err("no such method");
    assert!(refused.to_string().contains("canary"), "{refused}");
    let error = translate("connect", refused);
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("sasl.oauthbearer.method"), "{error}");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}
