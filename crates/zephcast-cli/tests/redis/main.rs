//! The command as it is built, against a real Redis: its own, or the one at `ZEPHCAST_TEST_REDIS_URL`.

mod broker;
#[path = "../cases/mod.rs"]
mod cases;
mod foreign;
mod leaving;
mod refused;
mod resend;
mod unanswered;

use cases::lab;
