//! A look at a group.

use std::time::Instant;

use zephcast_core::{Broker, GroupStatus, MemberState, MemberStatus, UnitId, UnitStatus};

use super::roster::{Member, MemberId};
use super::{Open, Unit};

impl Open<'_> {
    pub(crate) fn status(&self) -> GroupStatus {
        let units: Vec<_> = self.state.units.iter().map(|unit| self.unit_status(unit)).collect();
        let oldest = self.state.units.iter().filter_map(Unit::oldest).min();
        GroupStatus {
            stream: self.stream.name().clone(),
            group: self.group.clone(),
            broker: Broker::Memory,
            looked_at: Instant::now(),
            published: Some(self.state.units.iter().map(|unit| self.stream.log(unit.id).end()).sum()),
            lag: Some(units.iter().filter_map(|unit| unit.lag).sum()),
            in_flight: Some(self.state.units.iter().map(Unit::in_flight).sum()),
            oldest_pending: oldest.map(|oldest| self.now - oldest),
            delayed: Some(self.state.units.iter().map(|unit| unit.again.delayed_after(self.now)).sum()),
            dead_letters: Some(self.state.dead.len()),
            members: self.state.roster.iter().map(|(id, member)| self.member_status(id, member)).collect(),
            units,
            warnings: Vec::new(),
        }
    }

    /// The lowest offset that the group still needs from a unit's log.
    pub(crate) fn needs_from(&self, unit: UnitId) -> u64 {
        self.state.unit(unit).map_or(0, Unit::needs_from)
    }

    fn unit_status(&self, unit: &Unit) -> UnitStatus {
        let log = self.stream.log(unit.id);
        let owner = unit.owner.and_then(|id| self.state.roster.get(id));
        UnitStatus {
            unit: unit.id,
            committed: Some(unit.ring.frontier().to_string()),
            end: Some(log.end().to_string()),
            lag: Some(unit.lag(&log)),
            owner: owner.map(|member| member.name.clone()),
        }
    }

    fn member_status(&self, id: MemberId, member: &Member) -> MemberStatus {
        let own = || self.state.units.iter().filter(|unit| unit.owner == Some(id));
        let state = match member.oldest {
            _ if !member.alive => MemberState::Dead,
            Some(oldest) if oldest > member.lease => MemberState::Stuck,
            _ => MemberState::Active,
        };
        MemberStatus {
            name: member.name.clone(),
            state,
            units: own().map(|unit| unit.id).collect(),
            in_flight: Some(own().map(Unit::in_flight).sum()),
            prefetch: Some(member.prefetch),
            settled: None,
            idle: Some(self.now - member.seen),
            oldest_delivery: member.oldest,
            lease: Some(member.lease),
        }
    }
}
