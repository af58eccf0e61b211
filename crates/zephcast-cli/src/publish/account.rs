//! The account of a publish: a record for each line, counts, and the exit code that follows from them.

use std::time::Instant;

use zephcast::{MessageId, PublishError, Receipt};

use crate::exit::{Exit, describe};
use crate::output::records::{Outcome, Published, Record};
use crate::output::{Output, complain, line, seconds};

/// So many failures are told one by one to people; the summary has their number.
const TOLD: u64 = 10;
/// Records that wait for a pause are written at this size at the latest, so that memory stays bounded.
const FULL: usize = 64 * 1024;

/// Counts outcomes and writes their records.
pub(crate) struct Account<'a> {
    output: &'a Output,
    start: Instant,
    unwritten: Vec<u8>,
    /// Nobody reads stdout any more: the messages still go out.
    unread: bool,
    stored: u64,
    failed: u64,
    unknown: u64,
}

impl<'a> Account<'a> {
    pub(crate) fn new(output: &'a Output) -> Self {
        let start = Instant::now();
        Self { output, start, unwritten: Vec::new(), unread: false, stored: 0, failed: 0, unknown: 0 }
    }

    /// Takes down what became of line `n`.
    pub(crate) fn add(&mut self, n: u64, id: Option<&MessageId>, result: &Result<Receipt, PublishError>) {
        match result {
            Ok(_) => self.stored += 1,
            Err(PublishError::Failed(_)) => self.failed += 1,
            Err(PublishError::Unknown(_)) => self.unknown += 1,
        }
        if self.output.is_json() {
            let outcome = match result {
                Ok(receipt) => Outcome::Stored { position: receipt.position.map(|position| position.to_string()) },
                Err(error) => error.into(),
            };
            let record = Published { n, id: id.map(ToString::to_string), outcome };
            self.unwritten.extend(line(&Record::Published(record)));
        } else if let Err(error) = result
            && self.failed + self.unknown <= TOLD
        {
            complain(format_args!("message {}: {error}: {}", n + 1, describe(error.error())));
        }
    }

    /// Whether there are records to be written before anything is awaited.
    pub(crate) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Whether it is time to write although more outcomes are ready.
    pub(crate) fn is_full(&self) -> bool {
        self.unwritten.len() >= FULL
    }

    /// Writes the records so far. A reader that went away is a normal end: of the records, not of the publishing.
    pub(crate) async fn write(&mut self) -> std::io::Result<()> {
        let bytes = std::mem::take(&mut self.unwritten);
        if self.unread || bytes.is_empty() {
            return Ok(());
        }
        match self.output.stdout().write(bytes).await.result {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => self.unread = true,
            result => return result,
        }
        Ok(())
    }

    /// Writes the summary and says how it ended.
    pub(crate) async fn close(mut self) -> std::io::Result<Exit> {
        let (stored, failed, unknown) = (self.stored, self.failed, self.unknown);
        let seconds = seconds(self.start.elapsed());
        if self.output.is_json() {
            self.unwritten.extend(line(&Record::Summary { stored, failed, unknown, seconds }));
            self.write().await?;
        } else {
            self.output.tell(format_args!("stored {stored}, failed {failed}, unknown {unknown} in {seconds} s"));
        }
        Ok(match (failed, unknown) {
            (0, 0) => Exit::Done,
            (_, 0) => Exit::SomeFailed,
            _ => Exit::SomeUnknown,
        })
    }
}
