//! What handlers decide, noted on both sides of the call.

use zephcast_core::ErrorKind;

use crate::broker::State;
use crate::ledger::{Move, Stage};

impl State {
    /// What the handler does now, noted before it does it.
    pub(crate) fn decide(&mut self, handout: usize) -> Move {
        let step = self.messages[self.handouts[handout].message].next_move();
        self.note(|| format!("handler: {step:?} of hand-out {handout}"));
        step
    }

    /// What came of it; `true` when there is something for the broker to hear.
    pub(crate) fn decided(&mut self, number: usize, step: Move, result: Result<(), ErrorKind>, was_lost: bool) -> bool {
        let (setup, handout) = (self.setup, &mut self.handouts[number]);
        let (member, message) = (handout.member, handout.message);
        if let Err(kind) = result {
            handout.stage = Stage::Gone;
            let truth = handout.lost || handout.ended || self.members[member].left || self.members[member].stopping;
            let right = matches!(kind, ErrorKind::LeaseLost | ErrorKind::Closed);
            self.require(truth && right, || format!("{step:?} of hand-out {number} fails with {kind:?}"));
            return false;
        }
        let decision = step.decision(handout.attempt, handout.suspect, setup.attempts);
        let decision = decision.filter(|_| step != Move::Drop || !was_lost);
        handout.stage = match decision {
            Some(decision) => Stage::Decided(decision),
            None if was_lost => Stage::Gone,
            None => Stage::Back,
        };
        self.messages[message].decided += 1;
        self.members[member].dropped += u64::from(step == Move::Drop && !was_lost);
        decision.is_some()
    }
}
