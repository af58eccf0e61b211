//! The command as it is built, against a real Redis: its own, or the one at `ZEPHCAST_TEST_REDIS_URL`.

mod admin;
mod bad_days;
mod browse;
mod consume;
mod exec;
mod killers;
mod lab;
mod publish;
mod signals;
mod verdicts;
