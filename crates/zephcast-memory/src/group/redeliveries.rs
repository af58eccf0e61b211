//! The messages of a unit that are not on their first way: returned, delayed, redriven, or left by a dead member.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use zephcast_core::Message;

/// A message that is handed out again.
#[derive(Debug)]
pub(super) struct Again {
    /// Where it is on its way.
    stage: Stage,
    /// How many attempts count so far; handing it out raises it.
    pub(super) attempts: u32,
    /// The second part of the token under which it was handed out last.
    pub(super) mark: u64,
    /// When it was handed out last.
    pub(super) handed_out: Instant,
    /// The group's own copy; without one the log has it, as long as it keeps it.
    pub(super) message: Option<Message>,
    pub(super) published_ms: Option<u64>,
    pub(super) first_failed_ms: Option<u64>,
}

/// Where a message is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// With the unit's owner; `suspect` if it was handed out as one.
    Out { suspect: bool },
    /// To be handed out next.
    Ready,
    /// To be handed out alone: its member ended uncleanly.
    Suspect,
    /// To be handed out from then on.
    Delayed(Instant),
}

impl Again {
    pub(super) fn new(stage: Stage, attempts: u32, mark: u64, handed_out: Instant) -> Self {
        Self { stage, attempts, mark, handed_out, message: None, published_ms: None, first_failed_ms: None }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Where it goes when its owner hands it back with so many attempts: a suspect that was not tried stays one.
    pub(super) fn stage_when_returned(&self, attempts: u32) -> Stage {
        match self.stage {
            Stage::Out { suspect: true } if attempts < self.attempts => Stage::Suspect,
            _ => Stage::Ready,
        }
    }
}

/// Every such message of a unit by its offset, and indexes by stage.
#[derive(Debug, Default)]
pub(super) struct Redeliveries {
    all: BTreeMap<u64, Again>,
    ready: BTreeSet<u64>,
    suspects: BTreeSet<u64>,
    delayed: BTreeSet<(Instant, u64)>,
    out: u64,
}

impl Redeliveries {
    pub(super) fn get(&self, offset: u64) -> Option<&Again> {
        self.all.get(&offset)
    }

    pub(super) fn get_mut(&mut self, offset: u64) -> Option<&mut Again> {
        self.all.get_mut(&offset)
    }

    pub(super) fn insert(&mut self, offset: u64, again: Again) {
        self.remove(offset);
        self.index(offset, again.stage);
        self.all.insert(offset, again);
    }

    pub(super) fn remove(&mut self, offset: u64) -> Option<Again> {
        let again = self.all.remove(&offset)?;
        self.unindex(offset, again.stage);
        Some(again)
    }

    pub(super) fn set_stage(&mut self, offset: u64, stage: Stage) {
        let Some(again) = self.all.get_mut(&offset) else { return };
        let before = std::mem::replace(&mut again.stage, stage);
        self.unindex(offset, before);
        self.index(offset, stage);
    }

    /// Forgets what the group has no copy of its own of.
    pub(super) fn keep_copies(&mut self) {
        let others = self.iter().filter(|(_, again)| again.message.is_none());
        for offset in others.map(|(offset, _)| offset).collect::<Vec<_>>() {
            self.remove(offset);
        }
    }

    /// Makes ready whose delay is over.
    pub(super) fn wake_due(&mut self, now: Instant) {
        while let Some(&(due, offset)) = self.delayed.first()
            && due <= now
        {
            self.set_stage(offset, Stage::Ready);
        }
    }

    /// When the next delay is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.delayed.first().map(|(due, _)| *due)
    }

    pub(super) fn first_ready(&self) -> Option<u64> {
        self.ready.first().copied()
    }

    pub(super) fn first_suspect(&self) -> Option<u64> {
        self.suspects.first().copied()
    }

    /// How many are with the unit's owner.
    pub(super) fn out(&self) -> u64 {
        self.out
    }

    /// How many wait for a time that is still to come.
    pub(super) fn delayed_after(&self, now: Instant) -> u64 {
        self.delayed.iter().rev().take_while(|(due, _)| *due > now).count() as u64
    }

    pub(super) fn len(&self) -> u64 {
        self.all.len() as u64
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Again)> {
        self.all.iter().map(|(offset, again)| (*offset, again))
    }

    /// The offsets that are with the unit's owner.
    pub(super) fn all_out(&self) -> Vec<u64> {
        let out = self.iter().filter(|(_, again)| matches!(again.stage, Stage::Out { .. }));
        out.map(|(offset, _)| offset).collect()
    }

    fn index(&mut self, offset: u64, stage: Stage) {
        match stage {
            Stage::Out { .. } => self.out += 1,
            Stage::Ready => drop(self.ready.insert(offset)),
            Stage::Suspect => drop(self.suspects.insert(offset)),
            Stage::Delayed(due) => drop(self.delayed.insert((due, offset))),
        }
    }

    fn unindex(&mut self, offset: u64, stage: Stage) {
        match stage {
            Stage::Out { .. } => self.out -= 1,
            Stage::Ready => drop(self.ready.remove(&offset)),
            Stage::Suspect => drop(self.suspects.remove(&offset)),
            Stage::Delayed(due) => drop(self.delayed.remove(&(due, offset))),
        }
    }
}
