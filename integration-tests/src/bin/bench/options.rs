//! The command line.

use std::str::FromStr;

use crate::Outcome;
use crate::engine::Work;
use crate::stalled::Stalled;

const DEFAULT_ROUNDS: usize = 5;
const DEFAULT_MESSAGES: usize = 200_000;

pub(crate) enum Command {
    Measure(Options),
    /// What this program asks of itself under `valgrind`.
    Engine(Work),
    /// What it asks of itself to see how much memory a stalled handler takes.
    Stalled(Stalled),
}

pub(crate) struct Options {
    /// Everything without one.
    pub(crate) broker: Option<Broker>,
    pub(crate) output: Output,
    /// How often each side is measured. Odd, so that the median is one of them.
    pub(crate) rounds: usize,
    /// Messages of a round with a server.
    pub(crate) messages: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broker {
    Memory,
    Redis,
    Kafka,
    RabbitMq,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Text,
    Json,
}

pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Command> {
    let mut options =
        Options { broker: None, output: Output::Text, rounds: DEFAULT_ROUNDS, messages: DEFAULT_MESSAGES };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "memory" => options.broker = Some(Broker::Memory),
            "redis" => options.broker = Some(Broker::Redis),
            "kafka" => options.broker = Some(Broker::Kafka),
            "rabbitmq" => options.broker = Some(Broker::RabbitMq),
            "--output" => {
                options.output = match value(&argument, arguments.next())?.as_str() {
                    "text" => Output::Text,
                    "json" => Output::Json,
                    other => return Err(format!("--output is text or json, not {other:?}").into()),
                }
            }
            "--rounds" => options.rounds = number::<usize>(&argument, arguments.next())?.max(1) | 1,
            "--messages" => options.messages = number::<usize>(&argument, arguments.next())?.max(1_000),
            "--engine" => {
                let name = value(&argument, arguments.next())?;
                return Ok(Command::Engine(Work::new(&name, number("--engine", arguments.next())?)?));
            }
            "--stalled" => {
                let mut given = || value("--stalled", arguments.next());
                let [who, url, stream, group] = [given()?, given()?, given()?, given()?];
                return Ok(Command::Stalled(Stalled { who, url, stream, group }));
            }
            other => return Err(format!("unknown argument {other:?}").into()),
        }
    }
    Ok(Command::Measure(options))
}

fn value(of: &str, given: Option<String>) -> Outcome<String> {
    given.ok_or_else(|| format!("{of} needs a value").into())
}

fn number<T: FromStr>(of: &str, given: Option<String>) -> Outcome<T> {
    let given = value(of, given)?;
    given.parse().map_err(|_| format!("{of} needs a number, not {given:?}").into())
}
