//! What the client library does, librdkafka 2.12 and its Rust client, that hangs or loses where nothing guards against it.
//! Each case fails when its guard is taken out; `docs/architecture.md` has the table of them all.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, helpers included")]

mod lab;
mod lists;
mod names;
mod places;
mod publishing;
mod regained;
mod slow;
