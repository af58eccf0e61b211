//! Measures this library beside the raw clients it stands on: `bench [memory|redis|kafka|rabbitmq] [--output text|json]
//! [--rounds N] [--messages N]`. A server's URL comes from `ZEPHCAST_TEST_REDIS_URL`, `ZEPHCAST_TEST_KAFKA_URL` or
//! `ZEPHCAST_TEST_RABBITMQ_URL`.
//!
//! Raw is the given client at its best, with batches and hand-kept acks, and puts the same bytes on the wire. Raw and
//! ours take turns in one run, whoever begins changes from round to round, and medians are quoted. CPU is that of this
//! process, so it includes the client's own tasks but not the server.

mod engine;
mod joined;
mod kafka;
mod latency;
mod measure;
mod memory;
mod options;
mod ours;
mod rabbit;
mod redis;
mod redis_raw;
mod report;
mod source;
mod stalled;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use tokio::runtime::Runtime;

use options::{Broker, Command, Options};
use report::Report;

/// Any failure ends the run; it is told to a person.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The payload of every message that is measured.
pub(crate) const PAYLOAD_BYTES: usize = 256;

fn main() -> ExitCode {
    let done = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Measure(options)) => measure(&options),
        Ok(Command::Engine(work)) => engine::run(work),
        Ok(Command::Stalled(given)) => stalled(given),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says how many MiB were resident at most.
fn stalled(given: stalled::Stalled) -> Outcome<()> {
    let peak = runtime()?.block_on(given.run())?;
    writeln!(std::io::stdout().lock(), "{peak}")?;
    // What stalls is not waited for.
    std::process::exit(0)
}

fn measure(options: &Options) -> Outcome<()> {
    let mut report = Report::new(options.output);
    let runtime = runtime()?;
    let wanted = |broker| options.broker.is_none_or(|only| only == broker);
    if wanted(Broker::Redis) {
        runtime.block_on(redis::measure(options, &mut report))?;
    }
    if wanted(Broker::Kafka) {
        runtime.block_on(kafka::measure(options, &mut report))?;
    }
    if wanted(Broker::RabbitMq) {
        runtime.block_on(rabbit::measure(options, &mut report))?;
    }
    if wanted(Broker::Memory) {
        runtime.block_on(memory::measure(options, &mut report))?;
        engine::measure(&mut report)?;
    }
    report.finish()
}

/// As many threads as the marks speak of, and the same for raw and ours.
fn runtime() -> Outcome<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
