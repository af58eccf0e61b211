//! What was published, handed out and decided: what the checks compare the engine's doings with.

use tokio::time::Instant;

/// A message of the schedule.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) payload: Vec<u8>,
    /// What handlers do with it, decision by decision; an ack after the last.
    pub(crate) plan: Vec<Move>,
    /// Its handler never returns: the process dies.
    pub(crate) kills: bool,
    /// Decisions so far.
    pub(crate) decided: usize,
    /// Where the broker stored it: unit and offset.
    pub(crate) stored: Vec<(u32, u64)>,
    pub(crate) outcome: Outcome,
    pub(crate) acked: u32,
    pub(crate) dead: u32,
    /// Its owner lost it, so that more than one may have handled it.
    pub(crate) disturbed: bool,
}

/// What the publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet, or nobody listened.
    Open,
    Confirmed,
    Failed,
    Unknown,
}

/// What a handler does with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Ack,
    Nack,
    NackAfter(u64),
    Fail,
    Reject,
    Drop,
}

impl Record {
    pub(crate) fn next_move(&self) -> Move {
        self.plan.get(self.decided).copied().unwrap_or(Move::Ack)
    }

    /// Whether handlers alone lead it to the dead letters.
    pub(crate) fn is_doomed(&self, attempts: u32) -> bool {
        let fails = self.plan.iter().filter(|step| **step == Move::Fail).count();
        self.plan.contains(&Move::Reject) || fails >= attempts as usize
    }

    /// Whether its plan alone can lead it there, be it by attempts that were counted twice.
    pub(crate) fn may_fail(&self) -> bool {
        self.plan.iter().any(|step| matches!(step, Move::Fail | Move::Reject))
    }

    /// Whether a handler puts it back untried. As a suspect it keeps the death that it was suspected of, so beside enough
    /// killers it can be given up.
    pub(crate) fn is_put_back(&self) -> bool {
        self.plan.iter().any(|step| matches!(step, Move::Nack | Move::NackAfter(_) | Move::Drop))
    }
}

/// A message that the broker handed to a member.
#[derive(Debug)]
pub(crate) struct Handout {
    pub(crate) message: usize,
    pub(crate) member: usize,
    pub(crate) unit: u32,
    pub(crate) token: u64,
    /// The assignment of the unit; always 0 where units are shared.
    pub(crate) generation: u64,
    pub(crate) attempt: u32,
    pub(crate) suspect: bool,
    pub(crate) bytes: usize,
    /// The engine got it.
    pub(crate) received: bool,
    /// A handler got it.
    pub(crate) delivered: bool,
    pub(crate) stage: Stage,
    /// The broker took it away.
    pub(crate) lost: bool,
    /// It is with this member no more, be it lost, released or given back.
    pub(crate) ended: bool,
    /// The decision is at the broker.
    pub(crate) durable: bool,
    /// The message may come again although it was acked.
    pub(crate) excused: bool,
}

/// Where a hand-out is in its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Engine,
    /// With a handler since then.
    Handler(Instant),
    /// Nacked or dropped: the engine hands it out again.
    Back,
    Decided(Decision),
    /// The handler was told that it is lost, or it ended with its process.
    Gone,
}

/// What was decided, as the broker is to hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Ack,
    Later { attempts: u32 },
    Dead { attempts: u32 },
}

impl Move {
    /// What the broker is to hear of it: nothing of what stays in the member.
    pub(crate) fn decision(self, attempt: u32, suspect: bool, most: u32) -> Option<Decision> {
        match self {
            Self::Ack => Some(Decision::Ack),
            // A suspect goes back to the group, so that it is not held beside the next one.
            Self::Nack | Self::Drop if suspect => Some(Decision::Later { attempts: attempt - 1 }),
            Self::Nack | Self::Drop => None,
            Self::NackAfter(_) => Some(Decision::Later { attempts: attempt - 1 }),
            Self::Fail if attempt < most => Some(Decision::Later { attempts: attempt }),
            Self::Fail | Self::Reject => Some(Decision::Dead { attempts: attempt }),
        }
    }
}

impl Handout {
    /// Whether the member owns it and nobody decided on it: it takes room in the window.
    pub(crate) fn is_open(&self) -> bool {
        self.received && !self.ended && !self.durable && !matches!(self.stage, Stage::Decided(Decision::Ack))
    }

    pub(crate) fn is_acked(&self) -> bool {
        self.stage == Stage::Decided(Decision::Ack)
    }

    pub(crate) fn is_decided(&self) -> bool {
        matches!(self.stage, Stage::Decided(_))
    }

    /// A handler has it, or decided on it.
    pub(crate) fn is_started(&self) -> bool {
        self.is_with_handler() || self.is_decided()
    }

    pub(crate) fn is_with_handler(&self) -> bool {
        matches!(self.stage, Stage::Handler(_))
    }
}
