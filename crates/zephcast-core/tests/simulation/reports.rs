//! What the engine says must be true: confirmations, commits, reports of leaving.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use zephcast_core::{CloseReport, ErrorKind, Result};

use crate::broker::State;
use crate::faults::Link;
use crate::ledger::{Decision, Handout, Stage};
use crate::schedule::Flavour;

/// Timers go off within a millisecond after their time.
const TICK: Duration = Duration::from_millis(2);

impl State {
    /// The member is asked to stop.
    pub(crate) fn stop(&mut self, id: usize, deadline: Duration) {
        self.note(|| format!("{} is asked to stop within {deadline:?}", self.members[id].name));
        self.members[id].stopping = true;
        self.members[id].leaves_until = Some(self.now + deadline + TICK);
    }

    /// The answer to one delivery's settlement.
    pub(crate) fn check_confirmed(&mut self, number: usize, result: Result<(), ErrorKind>) {
        self.note(|| format!("hand-out {number} confirmed: {result:?}"));
        let handout = &self.handouts[number];
        let member = &self.members[handout.member];
        let released = self.setup.flavour == Flavour::Assigned && handout.ended;
        let truth = match result {
            Ok(()) => handout.durable,
            // A unit that was given up while the answer was on its way has an outcome that nobody knows.
            Err(ErrorKind::LeaseLost) => handout.is_out_of_reach() || member.returned.is_some() || released,
            Err(ErrorKind::Closed) => member.stopping,
            Err(_) => false,
        };
        let durable = handout.durable;
        self.require(truth, || format!("hand-out {number} is confirmed as {result:?}, durable is {durable}"));
    }

    /// The answer to a commit of these.
    pub(crate) fn check_commit(&mut self, id: usize, since: &[usize], result: Result<(), ErrorKind>) {
        self.note(|| format!("committed: {result:?}"));
        let open = since.iter().find(|number| !self.handouts[**number].durable).copied();
        let lost = self.handouts.iter().any(|handout| {
            let released = self.setup.flavour == Flavour::Assigned && handout.ended;
            handout.member == id && handout.is_decided() && (handout.is_out_of_reach() || released)
        });
        match result {
            Ok(()) => self.require(open.is_none(), || format!("a commit says that {open:?} is at the broker")),
            Err(ErrorKind::LeaseLost) => self.require(lost, || "a commit says that something was lost".into()),
            Err(kind) => self.violated(format!("a commit fails with {kind:?}")),
        }
    }

    /// The account of a consumer that was closed.
    pub(crate) fn check_report(&mut self, id: usize, result: Result<CloseReport>, took: Duration, deadline: Duration) {
        let report = match result {
            Ok(report) => report,
            Err(error) => return self.violated(format!("closing fails: {error:?}")),
        };
        self.note(|| format!("{} closed: {report:?}", self.members[id].name));
        let in_time = (took <= deadline + TICK, "closing takes longer than its deadline");
        if self.link(id) == Link::Dead {
            return self.require(in_time.0, || in_time.1.into());
        }
        let member = &self.members[id];
        let count = |wanted: fn(&Decision) -> bool| {
            let mine = self.handouts.iter().filter(|handout| handout.member == id && handout.durable);
            let decided = mine.filter(|handout| matches!(&handout.stage, Stage::Decided(decision) if wanted(decision)));
            let keys: BTreeSet<_> = decided.map(|handout| (handout.unit, handout.token, handout.generation)).collect();
            keys.len() as u64
        };
        let acked = count(|decision| *decision == Decision::Ack);
        let dead = count(|decision| matches!(decision, Decision::Dead { .. }));
        let later = count(|decision| matches!(decision, Decision::Later { .. }));
        let (returned, (least, most)) = (member.returned, member.unfinished);
        let exact = report.clean && !member.lost_something;
        let claims = [
            in_time,
            (report.duration <= took + TICK, "duration"),
            (report.delivered == member.delivered, "delivered"),
            (report.dropped == member.dropped, "dropped"),
            (Some(report.returned) == returned.map(|count| count as u64), "returned"),
            ((least as u64..=most as u64).contains(&report.unfinished), "unfinished"),
            (!report.clean || member.left && least == 0 && member.undurable == 0, "clean"),
            (report.lease_lost <= (member.undurable + most) as u64 || member.lost_something, "lease lost"),
            (report.acked <= acked && (report.acked == acked || !exact), "acked"),
            (report.retried <= later && (report.retried == later || !exact), "retried"),
            (report.dead_lettered >= dead || !exact, "dead-lettered"),
        ];
        let (drop, settled) = (member.dropped, (acked, later, dead));
        let state = (returned, (least, most), member.undurable, member.left, member.delivered, drop, settled, took);
        for (holds, what) in claims {
            self.require(holds, || {
                format!(
                    "{what} is not true in {report:?}; the broker saw (returned, unfinished, undurable, left, \
                         delivered, dropped, (acked, later, dead), took) {state:?}"
                )
            });
        }
    }

    /// Every member that was to leave has tried to by now.
    pub(crate) fn check_left(&mut self) {
        let now = Instant::now();
        let late = |member: &&crate::broker::Member| {
            member.returned.is_none() && member.leaves_until.is_some_and(|until| until + Duration::from_secs(1) < now)
        };
        let late = self.members.iter().find(late).map(|member| member.name.clone());
        self.require(late.is_none(), || format!("{late:?} was asked to stop and did not leave"));
    }
}

impl Handout {
    /// Whether its settlement could not count any more.
    fn is_out_of_reach(&self) -> bool {
        self.lost || self.ended && !self.durable
    }
}
