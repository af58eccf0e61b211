//! How the command ends: its exit code, and what it says when it failed.

use std::fmt::Write as _;

use zephcast::{Error, ErrorKind, PublishError};

/// The exit codes that scripts can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Done = 0,
    /// It failed: broker, permission, not found; or work was given back unfinished, or the group was not left in good
    /// order.
    Failed = 1,
    /// The command line cannot be used.
    Usage = 2,
    /// Some messages failed for certain, or an input line was bad.
    SomeFailed = 3,
    /// The outcome of some messages, or of a change at the broker, is unknown.
    SomeUnknown = 4,
    /// A signal ended it before it had done what it was asked, or a second one ended it at once.
    Interrupted = 130,
}

/// Why the command could not do what it was asked, in words for people.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    what: String,
    advice: Option<String>,
}

impl Failure {
    /// What was asked cannot be done as it was asked.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, what: what.into(), advice: None }
    }

    /// Nobody said which broker is meant.
    pub(crate) fn no_broker() -> Self {
        Self::usage("no broker is named")
            .advise("--url kafka://localhost:9092, --url redis://localhost:6379, or ZEPHCAST_URL")
    }

    /// It was tried and failed.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, what: what.into(), advice: None }
    }

    /// It was asked to stop before the broker said whether this was done.
    pub(crate) fn unknown(what: impl std::fmt::Display) -> Self {
        let what = format!("interrupted: whether {what} is unknown");
        Self { exit: Exit::SomeUnknown, what, advice: None }
    }

    /// Where a stream that is missing can be made along.
    pub(crate) fn or_create(error: Error) -> Self {
        let is_missing = error.kind() == ErrorKind::NotFound;
        let failure = Self::from(error);
        if is_missing { failure.advise("--create, if it is to be made") } else { failure }
    }

    /// Names the stream that it was about, if a broker's error did not: there names stand in quotes.
    pub(crate) fn about(mut self, stream: &str) -> Self {
        if !self.what.contains(&format!("{stream:?}")) {
            self.what = format!("stream {stream}: {}", self.what);
        }
        self
    }

    /// Names the broker that it was about, where there are several.
    pub(crate) fn about_broker(mut self, broker: &str) -> Self {
        self.what = format!("{broker}: {}", self.what);
        self
    }

    /// Adds what the user can do about it.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::Unsupported => Exit::Usage,
            _ => Exit::Failed,
        };
        let advice = error.advice().or_else(|| advice(error.kind()));
        Self { exit, what: describe(&error), advice: advice.map(str::to_owned) }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        Self::failed(format!("a message was not confirmed: {}", describe(&error)))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.advice {
            Some(advice) => write!(f, "\n  try: {advice}"),
            None => Ok(()),
        }
    }
}

/// An error and its causes in one line; a cause that its effect already told, as what a server said, is left out.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Of our own errors only the message: what was being done is told already.
        let told = error.downcast_ref::<Error>().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        let last = text.rsplit(": ").next().unwrap_or_default();
        if !text.contains(&told) && (last.is_empty() || !told.ends_with(last)) {
            let _ = write!(text, ": {told}");
        }
        cause = error.source();
    }
    text
}

fn advice(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Auth => Some("check user, password and TLS settings in --url or ZEPHCAST_URL"),
        ErrorKind::PermissionDenied => Some("ask for the rights that `zephcast check` names"),
        ErrorKind::NotFound => Some("`zephcast stream list` shows what there is"),
        ErrorKind::WrongType => Some("choose another stream name: this one is taken by something else"),
        ErrorKind::Unavailable | ErrorKind::Timeout => Some("see that the broker runs and is reachable from here"),
        ErrorKind::Blocked => Some("free memory or disk at the broker, or raise its limit"),
        ErrorKind::Internal => Some("this is a defect of zephcast; please report it with the command that you ran"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_cause_once_and_the_way_out() {
        let cause = Error::new(ErrorKind::Broker, "ask", "no route");
        let error = Error::new(ErrorKind::Unavailable, "connect", "localhost:1 is away").caused_by(cause);
        let text = Failure::from(error).to_string();
        assert_eq!(
            text,
            "error: connect: localhost:1 is away: no route\n  try: see that the broker runs and is reachable from here"
        );
    }

    #[test]
    fn who_knows_better_what_to_do_is_heard() {
        let cause = Error::new(ErrorKind::NotFound, "ask", "no such place").advise("look elsewhere");
        let error = Error::new(ErrorKind::NotFound, "connect", "nothing there").caused_by(cause);
        assert_eq!(
            Failure::from(error).to_string(),
            "error: connect: nothing there: no such place\n  try: look elsewhere"
        );
    }

    #[test]
    fn the_stream_is_named_unless_it_was() {
        let about = |what: &str| Failure::failed(what).about("s").to_string();
        assert_eq!(about("status: no such group"), "error: stream s: status: no such group");
        assert_eq!(about("the stream \"s\" does not exist"), "error: the stream \"s\" does not exist");
        assert_eq!(about("the stream \"others\" is missing"), "error: stream s: the stream \"others\" is missing");
    }

    #[test]
    fn what_cannot_be_used_is_usage_and_the_rest_failed() {
        for (kind, exit) in [
            (ErrorKind::InvalidInput, Exit::Usage),
            (ErrorKind::Unsupported, Exit::Usage),
            (ErrorKind::Auth, Exit::Failed),
            (ErrorKind::NotFound, Exit::Failed),
            (ErrorKind::Unavailable, Exit::Failed),
        ] {
            assert_eq!(Failure::from(Error::new(kind, "x", "y")).exit, exit, "{kind}");
        }
    }
}
