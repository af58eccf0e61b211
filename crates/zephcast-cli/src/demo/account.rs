//! What became of every order, and whether that is what was promised.

use std::collections::{BTreeMap, BTreeSet};

use zephcast::driver::DeadLetter;
use zephcast::{CloseReport, GroupStatus};

use super::worker::Seen;
use super::{ATTEMPTS, ORDERS, POISON};

/// What was seen of the orders.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// How often each was handled.
    handled: BTreeMap<String, u32>,
    /// What the crashed member had in its hands.
    held: Option<String>,
    /// Which orders came again.
    again: BTreeSet<String>,
    /// The attempt at which the poison failed last. One that came back unhandled from the crash may count.
    last_attempt: u32,
    dead_lettered: u32,
    returned: u64,
}

impl Account {
    pub(super) fn add(&mut self, seen: &Seen) {
        match seen {
            Seen::Handled { order, attempt, .. } => {
                *self.handled.entry(order.clone()).or_default() += 1;
                if *attempt > 1 {
                    self.again.insert(order.clone());
                }
            }
            Seen::Held { order, .. } => self.held = Some(order.clone()),
            Seen::Failed { attempt, .. } => self.last_attempt = *attempt,
            Seen::DeadLettered { .. } => self.dead_lettered += 1,
            Seen::Assigned { .. } | Seen::Revoked { .. } | Seen::Ended { .. } => {}
        }
    }

    /// A member left with this report.
    pub(super) fn left(&mut self, report: &CloseReport) {
        self.returned += report.returned;
    }

    /// Whether every order has found its end.
    pub(super) fn is_complete(&self) -> bool {
        self.handled.len() >= ORDERS - 1 && self.dead_lettered > 0
    }

    /// What is not as promised, by what members and broker say at the end.
    pub(super) fn problems(&self, status: &GroupStatus, dead: &[DeadLetter]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        let orders = (0..ORDERS).map(|n| format!("order {n}")).filter(|order| order != POISON);
        let missing: Vec<_> = orders.filter(|order| !self.handled.contains_key(order)).collect();
        demand(missing.is_empty(), format!("not handled: {}", missing.join(", ")));
        // What was handled just before the crash comes again: its ack had not been written.
        let twice = self.handled.iter().filter(|(order, times)| **times > 1 && !self.again.contains(*order));
        let twice: Vec<_> = twice.map(|(order, _)| &**order).collect();
        demand(twice.is_empty(), format!("handled more than once: {}", twice.join(", ")));
        let taken_over = self.held.as_ref().is_some_and(|held| self.again.contains(held));
        demand(taken_over, "what the crashed member held did not come again".into());
        demand(
            self.last_attempt == ATTEMPTS,
            format!("{POISON} ended at attempt {}, not {ATTEMPTS}", self.last_attempt),
        );
        let letters: Vec<_> = dead.iter().map(|dead| (dead.message.payload(), dead.attempts)).collect();
        let expected = [(POISON.as_bytes(), ATTEMPTS)];
        let is_poison = letters.iter().map(|(payload, attempts)| (payload.as_ref(), *attempts)).eq(expected);
        demand(is_poison, format!("the dead letters are not {POISON} alone, but {letters:?}"));
        demand(status.lag == Some(0), format!("the lag is {:?}", status.lag));
        demand(status.members.is_empty(), format!("{} members are left", status.members.len()));
        demand(self.returned == 0, format!("{} were given back at the end", self.returned));
        problems
    }
}

#[cfg(test)]
mod tests {
    use zephcast::{Broker, GroupName, Message, Position, PositionStyle, StreamName, Token, UnitId};

    use super::*;

    fn handled(order: impl Into<String>, attempt: u32) -> Seen {
        Seen::Handled { member: "ada".into(), order: order.into(), attempt }
    }

    /// As everything should be: order 4 was in the hands of whoever crashed.
    fn good() -> Vec<Seen> {
        let member = || "ada".to_owned();
        let mut seen = vec![Seen::Held { member: member(), order: "order 4".into() }];
        let orders = (0..ORDERS).map(|n| format!("order {n}")).filter(|order| order != POISON);
        seen.extend(orders.map(|order| handled(order.clone(), if order == "order 4" { 2 } else { 1 })));
        seen.extend((1..=ATTEMPTS).map(|attempt| Seen::Failed { member: member(), order: POISON.into(), attempt }));
        seen.push(Seen::DeadLettered { member: member(), reason: "no".into() });
        seen
    }

    fn letter(payload: &'static str) -> DeadLetter {
        DeadLetter {
            position: Position::new(PositionStyle::UnitOffset, UnitId(0), Token(0, 0)),
            message: Message::new(payload),
            reason: "no".into(),
            attempts: ATTEMPTS,
            first_failed_ms: None,
            last_failed_ms: None,
            origin: "orders@0:0".into(),
        }
    }

    fn problems(seen: &[Seen], lag: u64, dead: &[DeadLetter]) -> String {
        let mut account = Account::default();
        seen.iter().for_each(|seen| account.add(seen));
        let status = GroupStatus {
            lag: Some(lag),
            ..GroupStatus::new(StreamName::new("orders").unwrap(), GroupName::new("billing").unwrap(), Broker::Memory)
        };
        account.problems(&status, dead).join("; ")
    }

    #[test]
    fn the_good_end_is_good() {
        assert_eq!(problems(&good(), 0, &[letter(POISON)]), "");
    }

    #[test]
    fn whatever_is_not_as_promised_is_named() {
        let without = |gone: fn(&Seen) -> bool| good().into_iter().filter(|seen| !gone(seen)).collect::<Vec<_>>();
        let lost = without(|seen| matches!(seen, Seen::Handled { order, .. } if order == "order 7"));
        assert_eq!(problems(&lost, 0, &[letter(POISON)]), "not handled: order 7");
        let mut doubled = good();
        doubled.push(handled("order 7", 1));
        assert_eq!(problems(&doubled, 0, &[letter(POISON)]), "handled more than once: order 7");
        let mut redelivered = good();
        redelivered.push(handled("order 7", 2));
        assert_eq!(problems(&redelivered, 0, &[letter(POISON)]), "", "at least once");
        let uncrashed = without(|seen| matches!(seen, Seen::Held { .. }));
        assert!(problems(&uncrashed, 0, &[letter(POISON)]).contains("did not come again"));
        let given_up_early = without(|seen| matches!(seen, Seen::Failed { attempt: ATTEMPTS, .. }));
        assert_eq!(problems(&given_up_early, 0, &[letter(POISON)]), "order 13 ended at attempt 2, not 3");
        assert!(problems(&good(), 0, &[]).contains("dead letters"));
        assert!(problems(&good(), 0, &[letter(POISON), letter("order 7")]).contains("dead letters"));
        assert!(problems(&good(), 1, &[letter(POISON)]).contains("lag"));
    }
}
