//! What an answer means, and which error it is when it is none.

use std::time::SystemTime;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, DATE};
use hyper::http::response::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zephcast_core::{Error, ErrorKind, Result};

use super::lenient::{self, or_default};
use super::link::Failure;
use super::moment;
use super::server::Host;
use crate::error::error;

/// Of what the server says of a refusal.
const SHOWN: usize = 200;

pub(super) struct Answer {
    status: StatusCode,
    is_json: bool,
    /// By the server's clock.
    date: Option<SystemTime>,
    body: Bytes,
    host: Host,
}

/// What RabbitMQ says when it does not answer.
#[derive(Default, Deserialize)]
struct Complaint {
    #[serde(default, deserialize_with = "or_default")]
    error: String,
    #[serde(default, deserialize_with = "or_default")]
    reason: String,
    /// Of a check that found something wrong, which is an answer.
    #[serde(default, deserialize_with = "or_default")]
    status: String,
}

impl Answer {
    pub(super) fn new(head: &Parts, body: Bytes, host: Host) -> Self {
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let is_json = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
        Self { status: head.status, is_json, date: header(DATE).and_then(moment::of_header), body, host }
    }

    pub(super) fn date(&self) -> Option<SystemTime> {
        self.date
    }

    /// How many bytes it says.
    pub(super) fn size(&self) -> usize {
        self.body.len()
    }

    /// The answer, or `None` if the API has nothing at the place that it was asked for.
    pub(super) fn checked(self, operation: &'static str, user: &str) -> Result<Option<Self>> {
        let complaint = self.complaint();
        match (self.status, &complaint) {
            (StatusCode::OK, _) if self.is_json => Ok(Some(self)),
            (StatusCode::SERVICE_UNAVAILABLE, Some(complaint)) if complaint.status == "failed" => Ok(Some(self)),
            (StatusCode::NOT_FOUND, Some(complaint)) if !complaint.error.is_empty() => Ok(None),
            // The list has become shorter.
            (StatusCode::BAD_REQUEST, Some(complaint)) if complaint.error == "page_out_of_range" => Ok(None),
            _ => Err(self.refusal(operation, user, &complaint.unwrap_or_default())),
        }
    }

    pub(super) fn read<T: DeserializeOwned>(&self, operation: &'static str) -> Result<T> {
        lenient::read(&self.body).map_err(|source| {
            let message = format!("the answer of the management API at {} was not understood", self.host);
            error(ErrorKind::Broker, operation, message).caused_by(source)
        })
    }

    /// If it is more than the body of an error that something between may have sent.
    fn complaint(&self) -> Option<Complaint> {
        let is_bad = self.status != StatusCode::OK;
        (is_bad && self.is_json).then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }

    fn refusal(&self, operation: &'static str, user: &str, complaint: &Complaint) -> Error {
        let (host, status) = (&self.host, self.status);
        let reason = shown(&complaint.reason);
        let is_forbidden = match status {
            // Spelt so, the credentials are good; for others it says `not_authorized`.
            StatusCode::UNAUTHORIZED => complaint.error == "not_authorised",
            status => status == StatusCode::FORBIDDEN,
        };
        let (kind, message) = match status.as_u16() {
            _ if is_forbidden => (
                ErrorKind::PermissionDenied,
                format!(
                    "the management API at {host} refuses the user {user:?}{reason}; it needs the tag `monitoring` or \
                     `management`, and access to the virtual host"
                ),
            ),
            401 => (ErrorKind::Auth, format!("the management API at {host} refused the credentials")),
            429 | 502..=504 => {
                (ErrorKind::Unavailable, format!("the management API at {host} answered {status}{reason}"))
            }
            400 | 405.. => (ErrorKind::Broker, format!("the management API at {host} answered {status}{reason}")),
            _ => return foreign(operation, host),
        };
        error(kind, operation, message)
    }
}

/// What to do where nobody answers.
pub(crate) const NOT_THERE: &str = "turn on the plugin `rabbitmq_management` there, or say with \
     `management=http://HOST:15672` where it is; the port is not that of AMQP";

/// It answers, and is something else.
pub(super) fn foreign(operation: &'static str, host: &Host) -> Error {
    let message = format!("what answers at {host} is not RabbitMQ's management API");
    error(ErrorKind::Broker, operation, message).advise(NOT_THERE)
}

/// There was no answer.
pub(super) fn unanswered(operation: &'static str, host: &Host, failure: Failure) -> Error {
    match failure {
        Failure::TooLarge => {
            let message = format!("the answer of the management API at {host} is larger than 16 MiB");
            error(ErrorKind::Broker, operation, message)
        }
        Failure::Broken(source) if source.is_parse() => foreign(operation, host).caused_by(source),
        Failure::Broken(source) => {
            let message = format!("what answers at {host} hung up where the management API should be");
            error(ErrorKind::Unavailable, operation, message).advise(NOT_THERE).caused_by(source)
        }
    }
}

/// Words of the server on one line, in brackets.
fn shown(words: &str) -> String {
    let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
    if line.is_empty() { line } else { format!(" ({line})") }
}
