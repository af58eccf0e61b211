//! What a case is: a promise, a name, what it needs, and the proof.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;

use zephcast_core::{Capabilities, Order};

use crate::{Lab, Powers};

/// One named proof of a promise.
#[derive(Clone, Copy)]
pub struct Case {
    /// The promise's number, such as `D5`.
    pub promise: &'static str,
    /// What holds, in words.
    pub name: &'static str,
    /// What the broker and the harness must be capable of. A case that lacks one of them is skipped, visibly.
    pub needs: &'static [Need],
    /// The proof.
    pub run: fn(Lab) -> Proof,
}

/// A running proof. It stays on the thread that runs it.
pub type Proof = Pin<Box<dyn Future<Output = Checked>>>;

impl Case {
    /// Number and name: what the test is called.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.promise, self.name)
    }

    /// The first need that is not met, if any.
    #[must_use]
    pub fn missing(&self, capabilities: &Capabilities, powers: Powers) -> Option<Need> {
        self.needs.iter().copied().find(|need| !need.is_met(capabilities, powers))
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("title", &self.title()).field("needs", &self.needs).finish()
    }
}

/// Something that not every broker, or not every harness, can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Units belong to one member at a time.
    AssignedUnits,
    /// All members of a group take from the same units.
    SharedUnits,
    /// What a member holds is leased.
    Leases,
    /// A later member of the same name takes the place of an earlier one.
    ExclusiveNames,
    /// Order by key holds, if only with one member.
    Order,
    /// Order by key holds with many members.
    OrderAcrossMembers,
    /// What a member holds comes again when its connection ends.
    HeldByConnection,
    /// A new group can start after the newest message.
    StartLatest,
    /// A new group can start at a position.
    StartPosition,
    /// A new group can start at a time.
    StartTime,
    /// What is published before there is a group is kept for groups to come.
    KeepsWithoutGroup,
    /// A stream can be looked at without a group.
    Browse,
    /// A group that exists can be moved.
    Seek,
    /// The largest payload is known.
    MaxPayload,
    /// The harness can cut a connection: [`Powers::line`].
    Line,
    /// The harness can connect with wrong credentials: [`Powers::wrong_credentials`].
    WrongCredentials,
}

impl Need {
    /// Whether broker and harness have it.
    #[must_use]
    pub fn is_met(self, capabilities: &Capabilities, powers: Powers) -> bool {
        match self {
            Self::AssignedUnits => capabilities.assigns_units,
            Self::SharedUnits => !capabilities.assigns_units,
            Self::Leases => capabilities.leases,
            Self::HeldByConnection => !capabilities.leases,
            Self::ExclusiveNames => capabilities.exclusive_names,
            Self::Order => capabilities.order != Order::None,
            Self::OrderAcrossMembers => capabilities.order == Order::Unit,
            Self::StartLatest => capabilities.starts.latest,
            Self::StartPosition => capabilities.starts.position,
            Self::StartTime => capabilities.starts.time,
            Self::KeepsWithoutGroup => capabilities.keeps_without_group,
            Self::Browse => capabilities.browse,
            Self::Seek => capabilities.seek,
            Self::MaxPayload => capabilities.max_payload.is_some(),
            Self::Line => powers.line,
            Self::WrongCredentials => powers.wrong_credentials,
        }
    }
}

/// The outcome of a proof.
pub type Checked<T = ()> = Result<T, Broken>;

/// A promise that did not hold, or a proof that could not be carried out: what was seen, and where.
#[derive(Clone)]
pub struct Broken {
    what: String,
    at: &'static Location<'static>,
}

impl Broken {
    /// Says what was seen. Remembers the caller's place.
    #[must_use]
    #[track_caller]
    pub fn new(what: impl Into<String>) -> Self {
        Self::at(what, Location::caller())
    }

    /// As [`new`](Self::new), for a helper that knows where it was called.
    pub(crate) fn at(what: impl Into<String>, at: &'static Location<'static>) -> Self {
        Self { what: what.into(), at }
    }
}

/// Any error ends a proof, with its causes and the place of the `?`.
impl<E: std::error::Error> From<E> for Broken {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            what.push_str(&format!(": {next}"));
            cause = next.source();
        }
        Self::new(what)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.what, self.at.file(), self.at.line())
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Ends the proof with what was seen, unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err($crate::Broken::new(format!($($what)+)));
        }
    };
}

/// A row of the table: promise, name, proof, and what it needs.
macro_rules! case {
    ($promise:literal, $name:literal, $proof:path $(, $need:ident)*) => {
        $crate::Case {
            promise: $promise,
            name: $name,
            needs: &[$($crate::Need::$need),*],
            run: |lab| Box::pin($proof(lab)),
        }
    };
}

pub(crate) use {case, ensure};
