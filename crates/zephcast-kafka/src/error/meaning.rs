//! What each error code means, and what to do about it.

use rdkafka::error::RDKafkaErrorCode as Code;
use zephcast_core::ErrorKind;

/// What an error code means.
pub(crate) fn kind_of(code: Code) -> ErrorKind {
    meaning(code).0
}

pub(super) fn meaning(code: Code) -> (ErrorKind, &'static str) {
    of_the_connection(code)
        .or_else(|| of_rights(code))
        .or_else(|| of_streams(code))
        .or_else(|| of_groups(code))
        .or_else(|| of_messages(code))
        .or_else(|| of_the_library(code))
        .unwrap_or((ErrorKind::Broker, "the broker refused"))
}

fn of_the_connection(code: Code) -> Option<(ErrorKind, &'static str)> {
    let meaning = match code {
        Code::AllBrokersDown => (ErrorKind::Unavailable, "no broker can be reached"),
        Code::BrokerTransportFailure | Code::NetworkException | Code::DestroyBroker => {
            (ErrorKind::Unavailable, "the connection to the broker is gone")
        }
        Code::Resolve => (ErrorKind::Unavailable, "the broker's host is not known: is its name right?"),
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::ReplicaNotAvailable
        | Code::PreferredLeaderNotAvailable
        | Code::EligibleLeadersNotAvailable
        // What the library says of partitions without a leader.
        | Code::NoEnt
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::OffsetNotAvailable
        | Code::ElectionNotNeeded => (ErrorKind::Unavailable, "the partition has no leader for now"),
        Code::BrokerNotAvailable
        | Code::UnknownBroker
        | Code::NotController
        | Code::StaleControllerEpoch
        | Code::StaleBrokerEpoch
        | Code::RebootstrapRequired
        | Code::WaitCache
        | Code::Retry => (ErrorKind::Unavailable, "the broker is not available for now"),
        Code::KafkaStorageError => (ErrorKind::Unavailable, "the broker cannot use its disk"),
        Code::ListenerNotFound => {
            (ErrorKind::Unavailable, "a partition's leader has no listener of this kind: every broker needs the same")
        }
        Code::ReassignmentInProgress => (ErrorKind::Unavailable, "the partition is being moved"),
        Code::OperationTimedOut | Code::MessageTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => {
            (ErrorKind::Timeout, "no answer in time")
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedForMessageFormat => (
            ErrorKind::Unsupported,
            "the broker is too old for this: Kafka 2.4 or later is needed, and 4.0 for the group protocol `consumer`",
        ),
        Code::UnsupportedCompressionType => (
            ErrorKind::Unsupported,
            "the broker or this client does not know the compression; choose another `compression.type`",
        ),
        Code::SecurityDisabled => (ErrorKind::Unsupported, "the broker has no authorizer"),
        Code::NotImplemented | Code::NotConfigured | Code::UnknownProtocol => {
            (ErrorKind::Unsupported, "the client library cannot do it")
        }
        _ => return None,
    };
    Some(meaning)
}

fn of_rights(code: Code) -> Option<(ErrorKind, &'static str)> {
    let meaning = match code {
        Code::Authentication | Code::SaslAuthenticationFailed => (ErrorKind::Auth, "the credentials were refused"),
        Code::SSL => (ErrorKind::Auth, "TLS did not establish trust"),
        Code::UnsupportedSASLMechanism => {
            (ErrorKind::Auth, "the broker does not take this SASL mechanism; choose another `sasl`")
        }
        Code::IllegalSASLState => (ErrorKind::Auth, "the broker's listener does not ask for SASL; is the port right?"),
        Code::DelegationTokenExpired
        | Code::DelegationTokenNotFound
        | Code::DelegationTokenAuthDisabled
        | Code::DelegationTokenOwnerMismatch
        | Code::UnacceptableCredential
        | Code::PrincipalDeserializationFailure => (ErrorKind::Auth, "the credentials are not valid, or no longer"),
        Code::TopicAuthorizationFailed => (
            ErrorKind::PermissionDenied,
            "the user is not allowed to use the topic: he needs READ, WRITE and DESCRIBE on the stream and its helper topics",
        ),
        Code::GroupAuthorizationFailed => (
            ErrorKind::PermissionDenied,
            "the user is not allowed to use the group: he needs READ and DESCRIBE on it, and DELETE to delete it",
        ),
        Code::ClusterAuthorizationFailed => (
            ErrorKind::PermissionDenied,
            "the user is not allowed to do it on the cluster, or to write to any topic: creating topics needs CREATE",
        ),
        Code::TransactionalIdAuthorizationFailed
        | Code::DelegationTokenAuthorizationFailed
        | Code::DelegationTokenRequestNotAllowed => (ErrorKind::PermissionDenied, "the user is not allowed to"),
        _ => return None,
    };
    Some(meaning)
}

fn of_streams(code: Code) -> Option<(ErrorKind, &'static str)> {
    let meaning = match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId => {
            (ErrorKind::NotFound, "the topic or partition does not exist")
        }
        Code::TopicAlreadyExists => (ErrorKind::Conflict, "the topic exists already"),
        Code::InvalidTopic => (ErrorKind::InvalidInput, "a topic cannot have this name"),
        Code::InvalidPartitions => (
            ErrorKind::InvalidInput,
            "the number of partitions is not possible: it can be raised only, and is at least 1",
        ),
        Code::InvalidReplicationFactor | Code::InvalidReplicaAssignment => {
            (ErrorKind::InvalidInput, "there are fewer brokers than replicas")
        }
        Code::InvalidConfig => (ErrorKind::InvalidInput, "the broker does not take a setting, or its value"),
        Code::PolicyViolation => (ErrorKind::InvalidInput, "a policy of the broker forbids it"),
        Code::TopicDeletionDisabled => {
            (ErrorKind::Unsupported, "the broker deletes no topics: `delete.topic.enable` is false")
        }
        Code::LogDirNotFound => (ErrorKind::InvalidInput, "the broker has no such directory"),
        Code::InvalidRequest
        | Code::InvalidArgument
        | Code::InvalidTimestamp
        | Code::InvalidPrincipalType
        | Code::InvalidUpdateVersion
        | Code::DuplicateResource => (ErrorKind::InvalidInput, "the broker or its client does not take this value"),
        Code::ResourceNotFound | Code::NoOffset => (ErrorKind::NotFound, "it does not exist"),
        Code::OffsetOutOfRange => (
            ErrorKind::NotFound,
            "the messages at this position are no longer, or not yet, there: were they deleted by retention?",
        ),
        Code::AutoOffsetReset => (ErrorKind::NotFound, "the position is not there, and none was chosen instead"),
        Code::LogTruncation => (
            ErrorKind::NotFound,
            "the partition lost messages that were read: a replica that was behind became its leader",
        ),
        _ => return None,
    };
    Some(meaning)
}

fn of_groups(code: Code) -> Option<(ErrorKind, &'static str)> {
    let meaning = match code {
        Code::WaitingForCoordinator
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator => (ErrorKind::Unavailable, "the group has no coordinator for now"),
        Code::RebalanceInProgress => (ErrorKind::Unavailable, "the group is dividing its partitions anew"),
        Code::UnstableOffsetCommit => (ErrorKind::Unavailable, "a transaction on the group's positions is under way"),
        Code::UnknownMemberId
        | Code::IllegalGeneration
        | Code::AssignmentLost
        | Code::FencedMemberEpoch
        | Code::StaleMemberEpoch
        | Code::PollExceeded => (ErrorKind::LeaseLost, "the group goes on without this member"),
        Code::FencedInstanceId | Code::UnreleasedInstanceId => {
            (ErrorKind::Conflict, "another member of the group has this name, with static membership")
        }
        Code::InconsistentGroupProtocol => (
            ErrorKind::Conflict,
            "the group has members that divide partitions in another way: use the same group protocol everywhere, or another group",
        ),
        Code::UnsupportedAssignor => (ErrorKind::Conflict, "the broker does not know the group's assignor"),
        Code::GroupIdNotFound | Code::UnknownGroup => {
            (ErrorKind::NotFound, "the group does not exist, or is one of another group protocol")
        }
        Code::NonEmptyGroup | Code::GroupSubscribedToTopic => {
            (ErrorKind::Conflict, "the group has members; stop them first")
        }
        Code::GroupMaxSizeReached => {
            (ErrorKind::Conflict, "the group has as many members as the broker allows: `group.max.size`")
        }
        Code::InvalidGroupId => (ErrorKind::InvalidInput, "a group cannot have this name"),
        Code::InvalidSessionTimeout => (
            ErrorKind::InvalidInput,
            "the broker does not take a lease of this length: see its `group.min.session.timeout.ms` and `group.max.session.timeout.ms`",
        ),
        Code::OffsetMetadataTooLarge | Code::InvalidCommitOffsetSize => {
            (ErrorKind::TooLarge, "the broker keeps less beside a position: see its `offset.metadata.max.bytes`")
        }
        _ => return None,
    };
    Some(meaning)
}

fn of_messages(code: Code) -> Option<(ErrorKind, &'static str)> {
    let meaning = match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => (
            ErrorKind::TooLarge,
            "the message is larger than `max.message.bytes` of the topic, or than 64 MiB, the most that a client sends",
        ),
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend | Code::ISRInsufficient => {
            (ErrorKind::Blocked, "fewer replicas are in sync than `min.insync.replicas` asks for")
        }
        Code::QueueFull => (ErrorKind::Blocked, "too many messages wait to be sent"),
        Code::ThrottlingQuotaExceeded => (ErrorKind::Blocked, "the user's quota at the broker is used up"),
        Code::InvalidRecord | Code::InvalidMessage => {
            (ErrorKind::InvalidInput, "the topic does not take the message: a compacted topic needs a key")
        }
        Code::PurgeQueue | Code::PurgeInflight => (ErrorKind::Closed, "the client was closed before an answer came"),
        Code::InvalidRequiredAcks => (ErrorKind::InvalidInput, "the broker does not take these acks"),
        _ => return None,
    };
    Some(meaning)
}

fn of_the_library(code: Code) -> Option<(ErrorKind, &'static str)> {
    let meaning = match code {
        Code::FileSystem => (ErrorKind::InvalidInput, "a file cannot be read"),
        Code::Conflict | Code::ExistingSubscription | Code::PreviousInProgress | Code::InProgress => {
            (ErrorKind::Conflict, "another call of this kind is under way")
        }
        Code::State | Code::Outdated | Code::Interrupted => {
            (ErrorKind::LeaseLost, "the partition is not, or no longer, this member's")
        }
        Code::Fenced | Code::ProducerFenced => (ErrorKind::Conflict, "another instance took this one's place"),
        Code::Fatal => (ErrorKind::Broker, "the client library gave this connection up"),
        Code::BadMessage | Code::BadCompression | Code::Underflow | Code::Partial => {
            (ErrorKind::Broker, "the broker sent what cannot be understood")
        }
        Code::Fail | Code::CriticalSystemResource => (ErrorKind::Internal, "the client library failed"),
        _ => return None,
    };
    Some(meaning)
}
