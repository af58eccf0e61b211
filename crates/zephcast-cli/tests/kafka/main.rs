//! The command as it is built, against a real Kafka: its own, or the one at `ZEPHCAST_TEST_KAFKA_URL`.

mod broker;
#[path = "../cases/mod.rs"]
mod cases;
mod foreign;
