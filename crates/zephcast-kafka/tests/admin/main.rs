//! Looking and managing, on a real broker, with plain programs of Kafka beside it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, helpers included")]

mod browsing;
mod connecting;
mod creating;
mod dead_letters;
mod foreign;
mod groups;
mod moving;
mod outage;
mod removing;

mod prelude {
    //! What every case needs.

    pub(crate) use std::sync::Arc;
    pub(crate) use std::time::{Duration, Instant};

    pub(crate) use zephcast_core::driver::{Cursor, Driver, Redrive, StreamSpec};
    pub(crate) use zephcast_core::{
        ErrorKind, GroupName, MemberState, Position, PositionStyle, Start, StreamName, Token, UnitId,
    };
    pub(crate) use zephcast_kafka::{KafkaConfig, KafkaDriver};

    pub(crate) use crate::foreign::{produce, produce_to};

    /// Settings for the broker of the cases.
    pub(crate) fn config() -> KafkaConfig {
        let url = std::env::var("ZEPHCAST_TEST_KAFKA_URL").expect(
            "set ZEPHCAST_TEST_KAFKA_URL to the URL of a Kafka broker, such as kafka://localhost:9092; \
             `cargo xtask brokers up kafka` starts one",
        );
        KafkaConfig::from_url(&url).expect("ZEPHCAST_TEST_KAFKA_URL is the URL of a Kafka broker")
    }

    pub(crate) async fn driver() -> Arc<KafkaDriver> {
        KafkaDriver::connect(config()).await.expect("the broker of ZEPHCAST_TEST_KAFKA_URL answers")
    }

    /// A stream that no other case has.
    pub(crate) fn unique_stream() -> StreamName {
        StreamName::new(format!("admin-{:016x}", fastrand::u64(..))).unwrap()
    }

    pub(crate) fn group(name: &str) -> GroupName {
        GroupName::new(name).unwrap()
    }

    /// A group that no other case has: groups are the cluster's, not a stream's.
    pub(crate) fn unique_group() -> GroupName {
        group(&format!("group-{:016x}", fastrand::u64(..)))
    }

    pub(crate) fn at(unit: u32, offset: u64) -> Position {
        Position::new(PositionStyle::UnitOffset, UnitId(unit), Token(offset, 0))
    }

    /// A stream of so many partitions.
    pub(crate) async fn stream(driver: &KafkaDriver, partitions: u32) -> StreamName {
        let mut spec = StreamSpec::new(unique_stream());
        spec.partitions = Some(partitions);
        driver.admin().create_stream(&spec).await.expect("a stream");
        spec.stream
    }
}
