//! One unit of a stream as one group sees it.

use tokio::time::Instant;
use zephcast_core::driver::{Disposition, after};
use zephcast_core::{Token, UnitId};

use super::redeliveries::{Again, Redeliveries, Stage};
use super::ring::Ring;
use super::roster::MemberId;
use crate::log::Log;

/// A group's cursor and pending list in one unit, and who owns it.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) id: UnitId,
    /// Who gets its messages. Changed by the roster alone.
    pub(super) owner: Option<MemberId>,
    /// The revocation by which the owner is to give it up; nothing is handed out meanwhile.
    pub(super) revoking: Option<u64>,
    /// What is on its first way.
    pub(super) ring: Ring,
    /// What is not.
    pub(super) again: Redeliveries,
    /// Raised with every redelivery, so that each one has a token of its own.
    marks: u64,
    /// Tokens from here on belong to the present assignment.
    fence: Fence,
}

/// What was handed out when the unit was assigned: the owner cannot settle it.
#[derive(Clone, Copy, Debug)]
struct Fence {
    cursor: u64,
    marks: u64,
}

/// How an owner's time with a unit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In good order: what it had comes back as if not handed out.
    Clean,
    /// It died or was silent for too long: what it had is suspect.
    Unclean,
}

impl Unit {
    pub(super) fn new(id: UnitId, cursor: u64) -> Self {
        Self {
            id,
            owner: None,
            revoking: None,
            ring: Ring::new(cursor),
            again: Redeliveries::default(),
            marks: 0,
            fence: Fence { cursor, marks: 0 },
        }
    }

    /// Begins an assignment: what was handed out before can no longer be settled.
    pub(super) fn assign(&mut self, owner: MemberId) {
        self.owner = Some(owner);
        self.revoking = None;
        self.fence = Fence { cursor: self.ring.cursor(), marks: self.marks };
    }

    /// Ends an assignment: what is out waits for the next owner.
    pub(super) fn free(&mut self, end: End) {
        self.owner = None;
        self.revoking = None;
        let since = self.ring.oldest();
        for offset in self.ring.out_from(0).collect::<Vec<_>>() {
            self.ring.settle(offset);
            let again = Again::new(Stage::Out { suspect: false }, 1, 0, since.unwrap_or_else(Instant::now));
            self.again.insert(offset, again);
        }
        self.ring.forget_settled();
        for offset in self.again.all_out() {
            match end {
                End::Unclean => self.again.set_stage(offset, Stage::Suspect),
                // Only a started attempt counts, and what its owner had started it settled or returned.
                End::Clean => {
                    let attempts = self.again.get(offset).map_or(0, |again| again.attempts.saturating_sub(1));
                    self.give_back(offset, attempts);
                }
            }
        }
    }

    /// Goes on at `cursor`, for nobody yet. What waits as a copy of the group's own stays.
    pub(super) fn seek(&mut self, cursor: u64) {
        self.ring = Ring::new(cursor);
        self.again.keep_copies();
    }

    /// Hands out a message that is not on its first way and returns its token.
    pub(super) fn hand_out_again(&mut self, offset: u64, now: Instant) -> Token {
        let suspect = matches!(self.again.get(offset).map(Again::stage), Some(Stage::Suspect));
        self.marks += 1;
        self.again.set_stage(offset, Stage::Out { suspect });
        if let Some(again) = self.again.get_mut(offset) {
            again.attempts += 1;
            again.mark = self.marks;
            again.handed_out = now;
        }
        Token(offset, self.marks)
    }

    /// Whether the present assignment handed out this token.
    pub(super) fn is_ours(&self, Token(offset, mark): Token) -> bool {
        match mark {
            0 => (self.fence.cursor..self.ring.cursor()).contains(&offset),
            mark => mark > self.fence.marks && mark <= self.marks,
        }
    }

    /// Settles what is out under this token; `false` when nothing is, since it was settled or given back before.
    pub(super) fn settle(&mut self, token: Token) -> bool {
        self.take_out(token).is_some()
    }

    /// Takes what is out under this token, and puts it where its disposition says; `false` when nothing is out.
    pub(super) fn dispose(&mut self, token: Token, disposition: &Disposition, log: &Log, now: Instant) -> bool {
        let offset = token.0;
        let Some(taken) = self.take_out(token) else { return false };
        let mut again = match taken {
            Taken::First => Again::new(Stage::Out { suspect: false }, 1, token.1, now),
            Taken::Again(again) => again,
        };
        let stage = match disposition {
            Disposition::Dead { .. } => return true,
            Disposition::Keep { attempts } => {
                again.attempts = *attempts;
                again.stage()
            }
            Disposition::Return { attempts } => {
                let stage = again.stage_when_returned(*attempts);
                again.attempts = *attempts;
                stage
            }
            Disposition::Later { delay, attempts, message, first_failed_ms, .. } => {
                again.attempts = *attempts;
                again.message = Some((**message).clone());
                again.published_ms = again.published_ms.or_else(|| log.get(offset).map(|record| record.published_ms));
                again.first_failed_ms = again.first_failed_ms.or(*first_failed_ms);
                if delay.is_zero() { Stage::Ready } else { Stage::Delayed(after(now, *delay)) }
            }
        };
        self.again.insert(offset, again);
        self.again.set_stage(offset, stage);
        true
    }

    fn take_out(&mut self, Token(offset, mark): Token) -> Option<Taken> {
        if mark == 0 && self.ring.settle(offset) {
            return Some(Taken::First);
        }
        let again = self.again.get(offset)?;
        let is_out = again.mark == mark && matches!(again.stage(), Stage::Out { .. });
        if is_out { self.again.remove(offset).map(Taken::Again) } else { None }
    }

    /// Puts back what is out, with so many attempts.
    fn give_back(&mut self, offset: u64, attempts: u32) {
        let Some(again) = self.again.get_mut(offset) else { return };
        let stage = again.stage_when_returned(attempts);
        again.attempts = attempts;
        self.again.set_stage(offset, stage);
    }

    /// With the unit's owner.
    pub(super) fn in_flight(&self) -> u64 {
        self.ring.unsettled() + self.again.out()
    }

    /// Everything that the group has not settled here.
    pub(super) fn lag(&self, log: &Log) -> u64 {
        let unread = log.end().saturating_sub(self.ring.cursor().max(log.start()));
        unread + self.ring.unsettled() + self.again.len()
    }

    /// Since when the oldest message in flight has been out.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let again = self.again.iter().filter(|(_, again)| matches!(again.stage(), Stage::Out { .. }));
        again.map(|(_, again)| again.handed_out).chain(self.ring.oldest()).min()
    }

    /// The lowest offset that the group still needs from the log.
    pub(super) fn needs_from(&self) -> u64 {
        let again = self.again.iter().find(|(_, again)| again.message.is_none()).map(|(offset, _)| offset);
        again.unwrap_or(u64::MAX).min(self.ring.frontier())
    }
}

/// What was out.
enum Taken {
    /// On its first way.
    First,
    /// Not on its first way.
    Again(Again),
}
