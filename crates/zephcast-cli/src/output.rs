//! What the command shows: records and bare payloads on stdout, words for people on stderr.

pub(crate) mod bytes;
pub(crate) mod capabilities;
pub(crate) mod groups;
pub(crate) mod live;
pub(crate) mod messages;
pub(crate) mod records;
pub(crate) mod sparkline;
pub(crate) mod stdout;
pub(crate) mod table;

use std::io::{IsTerminal, Write, stderr};

use serde::Serialize;

use crate::args::{Format, Global};
use crate::output::stdout::Stdout;

/// Where output goes and how it looks.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    quiet: bool,
    stdout: Stdout,
}

impl Output {
    /// As the options say; without --output, text at a terminal and JSON Lines in a pipe.
    pub(crate) fn new(global: &Global) -> std::io::Result<Self> {
        let at_terminal = if std::io::stdout().is_terminal() { Format::Text } else { Format::Json };
        let format = global.output.unwrap_or(at_terminal);
        Ok(Self { format, quiet: global.quiet, stdout: Stdout::open()? })
    }

    /// Whether records are written.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether what is written can be overwritten: text at a terminal that knows how.
    pub(crate) fn is_live(&self) -> bool {
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        !self.is_json() && !dumb && std::io::stdout().is_terminal()
    }

    /// The way to write bytes.
    pub(crate) fn stdout(&self) -> &Stdout {
        &self.stdout
    }

    /// Tells something to people, on stderr, unless they want it quiet.
    pub(crate) fn tell(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            complain(text);
        }
    }

    /// Shows progress on one line of a terminal; an empty text wipes it. Nothing anywhere else.
    pub(crate) fn progress(&self, text: &str) {
        if !self.quiet && stderr().is_terminal() {
            // Nobody is left to be told that stderr is gone.
            let _ = write!(stderr(), "\r\x1b[K{text}");
        }
    }

    /// Writes one record in JSON, or else what `text` makes of it. A reader that went away is a normal end.
    pub(crate) async fn show<T: Serialize>(&self, record: &T, text: impl FnOnce(&T) -> String) -> std::io::Result<()> {
        let bytes = match self.format {
            Format::Json => line(record),
            Format::Text => {
                let mut text = text(record).into_bytes();
                text.push(b'\n');
                text
            }
        };
        match self.stdout.write(bytes).await.result {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

/// Tells of an error or a warning, on stderr, also when it should be quiet.
pub(crate) fn complain(text: impl std::fmt::Display) {
    // Nobody is left to be told that stderr is gone.
    let _ = writeln!(stderr(), "{text}");
}

/// A record as one line of JSON.
pub(crate) fn line(record: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("records have text keys and finite numbers only");
    line.push(b'\n');
    line
}

/// Seconds as records and people read them: to the millisecond.
pub(crate) fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1_000.0).round() / 1_000.0
}

/// Milliseconds of a duration, for records.
pub(crate) fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Text of somebody else's making as a terminal may see it: one line without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
