//! The embedded broker keeps every promise.

mod support;

use std::process::ExitCode;

use zephcast_conformance::{Suite, main as run};

use crate::support::Embedded;

fn main() -> ExitCode {
    run(async || Ok(Suite::new(Embedded::intact()).expect_skips(support::SKIPS)))
}
