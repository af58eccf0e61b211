//! What the command does on every broker; `crate::broker` says how one is started and what is its own.

mod admin;
mod any_bytes;
mod away;
mod bad_days;
mod bench;
mod browse;
mod consume;
mod dead_letters;
mod exec;
mod kept;
mod killers;
pub(crate) mod lab;
mod monitor;
mod progress;
mod publish;
mod rolling;
mod signals;
mod verdicts;
mod watch;
