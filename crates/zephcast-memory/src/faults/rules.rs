//! Which fault a call meets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use zephcast_core::driver::after;
use zephcast_core::{Error, ErrorKind, MemberName, Result};

use super::fault::{Effect, Fault, Operation};
use crate::error::error;
use crate::lock::lock;

/// The faults injected into a broker.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Whether there is any, so that a broker without faults pays one load for each batch.
    armed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rules: Vec<Rule>,
    random: fastrand::Rng,
}

impl Default for State {
    fn default() -> Self {
        Self { rules: Vec::new(), random: fastrand::Rng::with_seed(0) }
    }
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    until: Option<Instant>,
}

/// What is to go wrong with one call, decided as it begins.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Plan {
    /// How much later the answer comes.
    pub(crate) delay: Option<Duration>,
    /// Whether the answer is lost.
    pub(crate) lost: bool,
}

impl Rules {
    pub(crate) fn inject(&self, fault: Fault) {
        let until = fault.lasting.map(|lasting| after(Instant::now(), lasting));
        lock(&self.state).rules.push(Rule { fault, until });
        self.armed.store(true, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        self.armed.store(false, Ordering::Release);
        lock(&self.state).rules.clear();
    }

    pub(crate) fn seed(&self, seed: u64) {
        lock(&self.state).random = fastrand::Rng::with_seed(seed);
    }

    /// What a call meets as it begins: it fails before anything is done, or goes as planned.
    ///
    /// # Errors
    /// The failure injected.
    pub(crate) fn meet(&self, operation: Operation, member: Option<&MemberName>) -> Result<Plan> {
        self.fail(operation, member, true)?;
        Ok(Plan {
            delay: self.draw(operation, member, true, |effect| match effect {
                Effect::Delay(delay) => Some(delay),
                Effect::Fail(_) | Effect::LoseReply => None,
            }),
            // A fetch may bring nothing that could be lost: it asks once it has a batch.
            lost: operation != Operation::Fetch && self.loses_reply(operation, member),
        })
    }

    /// Whether a call fails that began before. Chance has had its say then.
    ///
    /// # Errors
    /// The failure injected.
    pub(crate) fn meet_again(&self, operation: Operation, member: Option<&MemberName>) -> Result<()> {
        self.fail(operation, member, false)
    }

    /// Whether the answer to what was just done is lost.
    pub(crate) fn loses_reply(&self, operation: Operation, member: Option<&MemberName>) -> bool {
        self.draw(operation, member, true, |effect| (effect == Effect::LoseReply).then_some(())).is_some()
    }

    fn fail(&self, operation: Operation, member: Option<&MemberName>, begins: bool) -> Result<()> {
        let failure = |effect| match effect {
            Effect::Fail(kind) => Some(kind),
            Effect::LoseReply | Effect::Delay(_) => None,
        };
        match self.draw(operation, member, begins, failure) {
            Some(kind) => Err(injected(kind, operation)),
            None => Ok(()),
        }
    }

    /// The first effect that is wanted and concerns this call; its fault is used up by one.
    fn draw<T>(
        &self,
        operation: Operation,
        member: Option<&MemberName>,
        begins: bool,
        wanted: impl Fn(Effect) -> Option<T>,
    ) -> Option<T> {
        if !self.armed.load(Ordering::Acquire) {
            return None;
        }
        let mut state = lock(&self.state);
        let State { rules, random } = &mut *state;
        let now = Instant::now();
        rules.retain(|rule| rule.until.is_none_or(|until| now < until) && rule.fault.times != Some(0));
        for Rule { fault, .. } in rules {
            let Some(effect) = wanted(fault.effect).filter(|_| fault.concerns(operation, member)) else { continue };
            let drawn = fault.chance.is_none_or(|chance| begins && random.f64() < chance);
            if drawn {
                fault.times = fault.times.map(|times| times - 1);
                return Some(effect);
            }
        }
        None
    }
}

impl Fault {
    fn concerns(&self, operation: Operation, member: Option<&MemberName>) -> bool {
        // Storing a dead letter is a part of settling, which has met what concerns everything.
        let everything = self.operations.is_empty() && operation != Operation::DeadLetter;
        (everything || self.operations.contains(&operation))
            && self.member.as_deref().is_none_or(|name| member.is_some_and(|member| member.as_str() == name))
    }
}

/// The answer is lost: something may have been done.
pub(crate) fn lost_reply(operation: Operation) -> Error {
    error(ErrorKind::Unavailable, operation.as_str(), "the connection was lost before the answer (injected)")
}

fn injected(kind: ErrorKind, operation: Operation) -> Error {
    let text = match kind {
        ErrorKind::Unavailable => "the broker cannot be reached (injected)".to_owned(),
        kind => format!("{kind} (injected)"),
    };
    error(kind, operation.as_str(), text)
}

impl Operation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Join => "join",
            Self::Fetch => "fetch",
            Self::Settle => "settle",
            Self::DeadLetter => "dead-letter",
            Self::Renew => "renew",
            Self::Leave => "leave",
            Self::Admin => "look",
        }
    }
}
