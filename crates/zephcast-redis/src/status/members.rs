//! The members of a group: what Redis knows of its consumers, and what members say of themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use zephcast_core::{MemberName, MemberState, MemberStatus, Result};

use super::OPERATION;
use crate::intake::UNIT;
use crate::reply::{Frame, array, count, map, text};

/// After how long a foreign consumer, which says nothing of itself, counts as dead.
pub(crate) const FOREIGN_LEASE: Duration = Duration::from_secs(30);

/// By name.
pub(super) struct Roster(BTreeMap<String, Facts>);

#[derive(Default)]
struct Facts {
    pending: u64,
    /// How long ago it last read or claimed.
    idle_ms: Option<u64>,
    report: Option<Report>,
}

/// What a member wrote when it last renewed, see the script `own`.
struct Report {
    lease_ms: u64,
    renewed_ms: u64,
    oldest_ms: u64,
}

impl Report {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ').skip(1).map(|part| part.parse().ok());
        Some(Self { lease_ms: parts.next()??, renewed_ms: parts.next()??, oldest_ms: parts.next()?? })
    }
}

impl Roster {
    /// Of the consumers on each stream, and of what members say of themselves.
    pub(super) fn read(consumers: [Frame; 2], reports: Frame) -> Result<Self> {
        let mut roster = BTreeMap::<String, Facts>::new();
        for on_stream in consumers {
            for consumer in array(OPERATION, on_stream)? {
                let (name, pending, idle_ms) = read_consumer(consumer)?;
                let facts = roster.entry(name).or_default();
                facts.pending += pending;
                facts.idle_ms = Some(facts.idle_ms.map_or(idle_ms, |idle| idle.min(idle_ms)));
            }
        }
        for (name, report) in map(OPERATION, reports)? {
            if let Some(report) = Report::read(&text(OPERATION, report)?) {
                roster.entry(name).or_default().report = Some(report);
            }
        }
        Ok(Self(roster))
    }

    pub(super) fn pending_all(&self) -> u64 {
        self.0.values().map(|facts| facts.pending).sum()
    }

    pub(super) fn pending_of(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |facts| facts.pending)
    }

    /// What each is doing at this time of the server. Parking consumers are no members.
    pub(super) fn judge(self, now: u64) -> Vec<MemberStatus> {
        self.0
            .into_iter()
            .filter(|(name, _)| !name.contains('/'))
            .map(|(name, facts)| facts.judge(&name, now))
            .collect()
    }
}

impl Facts {
    fn judge(self, name: &str, now: u64) -> MemberStatus {
        let silent = self.report.as_ref().map(|report| Duration::from_millis(now.saturating_sub(report.renewed_ms)));
        let idle = self.idle_ms.map(Duration::from_millis);
        let report = self.report.as_ref();
        let lease = report.map(|report| Duration::from_millis(report.lease_ms));
        let oldest = report.map(|report| Duration::from_millis(report.oldest_ms)).filter(|oldest| !oldest.is_zero());
        // A member that cannot renew is as good as dead, even if its reads still come.
        let last_heard = silent.or(idle).unwrap_or_default();
        let state = match (lease.unwrap_or(FOREIGN_LEASE), oldest) {
            (lease, _) if last_heard >= lease => MemberState::Dead,
            (lease, Some(oldest)) if oldest > lease => MemberState::Stuck,
            _ => MemberState::Active,
        };
        MemberStatus {
            name: readable(name),
            state,
            units: vec![UNIT],
            in_flight: Some(self.pending),
            // Members ask for as many as they have room for, and do not write down how many that is at most.
            prefetch: None,
            settled: None,
            idle: Some(last_heard),
            oldest_delivery: oldest,
            lease,
        }
    }
}

fn read_consumer(consumer: Frame) -> Result<(String, u64, u64)> {
    let (mut name, mut pending, mut idle) = (String::new(), 0, 0);
    for (fact, value) in map(OPERATION, consumer)? {
        match fact.as_str() {
            "name" => name = text(OPERATION, value)?,
            "pending" => pending = count(OPERATION, &value)?,
            // Negative for a moment after the server's clock was set back.
            "idle" => idle = count(OPERATION, &value).unwrap_or(0),
            _ => {}
        }
    }
    Ok((name, pending, idle))
}

/// A foreign consumer may have a name that no member can have.
fn readable(name: &str) -> MemberName {
    let replace = |c: char| if c.is_alphanumeric() || "-._:@+=".contains(c) { c } else { '_' };
    let cleaned = || name.chars().take(64).map(replace).collect::<String>();
    MemberName::new(name).or_else(|_| MemberName::new(cleaned())).unwrap_or_else(|_| MemberName::unique())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(report: &str, idle_ms: u64, now: u64) -> MemberState {
        Facts { pending: 1, idle_ms: Some(idle_ms), report: Report::read(report) }.judge("m", now).state
    }

    #[test]
    fn members_are_judged_by_their_own_lease_and_report() {
        assert_eq!(judged("nonce 3000 10000 0", 10, 12_000), MemberState::Active);
        assert_eq!(judged("nonce 3000 10000 3001", 10, 12_000), MemberState::Stuck);
        assert_eq!(judged("nonce 3000 10000 9000", 10, 13_000), MemberState::Dead);
        assert_eq!(judged("", 29_999, 0), MemberState::Active);
        assert_eq!(judged("", 30_000, 0), MemberState::Dead);
    }

    #[test]
    fn a_foreign_name_is_made_readable() {
        assert_eq!(readable("worker 1/a").as_str(), "worker_1_a");
        assert_eq!(readable("worker-1").as_str(), "worker-1");
    }
}
