//! What became of a message that was published.

use lapin::Error as LapinError;

use super::verdicts::Verdict;

/// What became of a message.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// A queue has it.
    Stored,
    /// No queue took it.
    Unroutable,
    /// A queue refused it: it is full, or has no leader.
    Refused,
    /// The channel was closed before anything of it was sent.
    NotSent,
    /// The server closed the channel because of this very message.
    Bad(Box<LapinError>),
    /// The channel or the connection ended before it was confirmed.
    Unknown(Box<LapinError>),
    /// The server was silent for too long before it was confirmed.
    Late,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Ack => Self::Stored,
            Verdict::Returned => Self::Unroutable,
            Verdict::Nack => Self::Refused,
            Verdict::NotSent => Self::NotSent,
            Verdict::Bad(source) => Self::Bad(source),
            Verdict::Failed(source) => Self::Unknown(source),
        }
    }
}
