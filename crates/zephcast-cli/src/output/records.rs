//! The small records: one type per event, its keys in the order in which they are written.

use serde::Serialize;
use zephcast::{CloseReport, Error, PublishError};

use crate::exit::describe;
use crate::output::{printable, seconds};

/// What goes to stdout as one line of JSON. `event` comes first in each.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Record {
    Joined { member: String, group: String, broker: &'static str },
    Assigned(Units),
    Revoked(Units),
    Lost(Units),
    Settled { token: u64, verdict: &'static str, result: &'static str },
    Committed { seconds: f64 },
    Disconnected { reason: String },
    Reconnected { seconds: f64 },
    Stuck { member: String, oldest_ms: u64 },
    Missing { unit: String, count: u64 },
    Recreated { member: String },
    OutOfRange { from: String, to: String },
    NodeDown { node: String },
    NodeUp { node: String },
    Throttled { node: String, delay_ms: u64 },
    Blocked { reason: String },
    Unblocked { seconds: f64 },
    Error(Complaint),
    Report(Report),
    Published(Published),
    Summary { stored: u64, failed: u64, unknown: u64, seconds: f64 },
    Seek { stream: String, group: String, to: String },
    Deleted(Deleted),
    Redriven { count: u64 },
    Purged { count: u64 },
    Listening { url: String },
    Check { broker: &'static str, version: String, capabilities: super::capabilities::Shown, warnings: Vec<Warning> },
}

/// Units that came or went.
#[derive(Debug, Serialize)]
pub(crate) struct Units {
    pub(crate) units: Vec<String>,
    /// Whose, where one process has several members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<String>,
}

/// What is gone.
#[derive(Debug, Serialize)]
pub(crate) struct Deleted {
    pub(crate) stream: String,
    /// None when it was the whole stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
}

/// Something that was refused, and what it was about.
#[derive(Debug, Serialize)]
pub(crate) struct Complaint {
    pub(crate) kind: &'static str,
    pub(crate) token: Option<u64>,
    pub(crate) message: String,
}

/// The account of a consumer's life.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    delivered: u64,
    acked: u64,
    returned: u64,
    dead_lettered: u64,
    clean: bool,
    seconds: f64,
}

impl From<&CloseReport> for Report {
    fn from(report: &CloseReport) -> Self {
        Self {
            delivered: report.delivered,
            acked: report.acked,
            returned: report.returned,
            dead_lettered: report.dead_lettered,
            clean: report.clean,
            seconds: seconds(report.duration),
        }
    }
}

/// What became of one input line.
#[derive(Debug, Serialize)]
pub(crate) struct Published {
    pub(crate) n: u64,
    pub(crate) id: Option<String>,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// The three outcomes of a publish.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome {
    Stored { position: Option<String> },
    Failed { error: Cause },
    Unknown { error: Cause },
}

/// An error in a record.
#[derive(Debug, Serialize)]
pub(crate) struct Cause {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
}

impl From<&Error> for Cause {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind().as_str(), message: describe(error) }
    }
}

impl From<&PublishError> for Outcome {
    fn from(error: &PublishError) -> Self {
        match error {
            PublishError::Failed(error) => Self::Failed { error: error.into() },
            PublishError::Unknown(error) => Self::Unknown { error: error.into() },
        }
    }
}

/// Something risky, missing or wrong at the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) advice: String,
}

impl From<zephcast::Warning> for Warning {
    fn from(warning: zephcast::Warning) -> Self {
        Self { kind: warning.kind, message: warning.message, advice: warning.advice }
    }
}

impl Warning {
    /// Its lines below those of what it is about.
    pub(crate) fn below(&self) -> String {
        format!("  {self}").replace('\n', "\n  ")
    }
}

/// Two lines for people.
impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, message, advice } = self;
        write!(f, "warning ({kind}): {}\n  try: {}", printable(message), printable(advice))
    }
}

#[cfg(test)]
mod tests {
    use zephcast::ErrorKind;

    use super::*;

    fn json(record: &Record) -> String {
        serde_json::to_string(record).unwrap()
    }

    #[test]
    fn consume_records_are_as_promised() {
        let units = |units: &[&str]| Units { units: units.iter().map(ToString::to_string).collect(), member: None };
        for (record, text) in [
            (
                Record::Joined { member: "m".into(), group: "g".into(), broker: "redis" },
                r#"{"event":"joined","member":"m","group":"g","broker":"redis"}"#,
            ),
            (Record::Assigned(units(&["0", "1"])), r#"{"event":"assigned","units":["0","1"]}"#),
            (Record::Revoked(units(&["1"])), r#"{"event":"revoked","units":["1"]}"#),
            (Record::Lost(units(&["1"])), r#"{"event":"lost","units":["1"]}"#),
            (
                Record::Settled { token: 17, verdict: "ack", result: "ok" },
                r#"{"event":"settled","token":17,"verdict":"ack","result":"ok"}"#,
            ),
            (Record::Committed { seconds: 0.004 }, r#"{"event":"committed","seconds":0.004}"#),
            (Record::Disconnected { reason: "gone".into() }, r#"{"event":"disconnected","reason":"gone"}"#),
            (Record::Reconnected { seconds: 1.2 }, r#"{"event":"reconnected","seconds":1.2}"#),
            (
                Record::Stuck { member: "m".into(), oldest_ms: 31_000 },
                r#"{"event":"stuck","member":"m","oldest_ms":31000}"#,
            ),
            (
                Record::Error(Complaint { kind: "unknown_token", token: Some(17), message: "no".into() }),
                r#"{"event":"error","kind":"unknown_token","token":17,"message":"no"}"#,
            ),
            (
                Record::Report(Report {
                    delivered: 100,
                    acked: 98,
                    returned: 2,
                    dead_lettered: 0,
                    clean: true,
                    seconds: 0.1,
                }),
                r#"{"event":"report","delivered":100,"acked":98,"returned":2,"dead_lettered":0,"clean":true,"seconds":0.1}"#,
            ),
        ] {
            assert_eq!(json(&record), text);
        }
    }

    #[test]
    fn publish_records_are_as_promised() {
        let published = |n, outcome| Record::Published(Published { n, id: Some("i".into()), outcome });
        let error = Error::new(ErrorKind::Timeout, "publish", "no answer");
        for (record, text) in [
            (
                published(0, Outcome::Stored { position: Some("0:42".into()) }),
                r#"{"event":"published","n":0,"id":"i","outcome":"stored","position":"0:42"}"#,
            ),
            (
                published(2, Outcome::from(&PublishError::Unknown(error))),
                r#"{"event":"published","n":2,"id":"i","outcome":"unknown","error":{"kind":"timeout","message":"publish: no answer"}}"#,
            ),
            (
                Record::Summary { stored: 1, failed: 1, unknown: 1, seconds: 0.2 },
                r#"{"event":"summary","stored":1,"failed":1,"unknown":1,"seconds":0.2}"#,
            ),
            (Record::Redriven { count: 3 }, r#"{"event":"redriven","count":3}"#),
            (Record::Purged { count: 3 }, r#"{"event":"purged","count":3}"#),
        ] {
            assert_eq!(json(&record), text);
        }
    }
}
