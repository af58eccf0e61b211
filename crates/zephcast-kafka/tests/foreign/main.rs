//! What plain programs of Kafka write is delivered as it is, what is no record for readers is passed, and they read what is
//! written here.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, helpers included")]

mod delayed;
mod gaps;
mod lab;
mod records;
