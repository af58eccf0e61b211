//! The command as it is built, against a real RabbitMQ: its own, or the one at `ZEPHCAST_TEST_RABBITMQ_URL`.

mod blocked;
mod broker;
/// Those that do not ask for what a queue does not keep.
#[path = "../cases"]
mod cases {
    mod bad_days;
    mod consume;
    mod dead_letters;
    mod exec;
    mod killers;
    pub(crate) mod lab;
    mod progress;
    mod publish;
    mod signals;
    mod verdicts;
}
mod groups;
mod refused;
mod streams;
