//! Joining, living, leaving, and what moves between members.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;
use zephcast_core::driver::{Disposition, Fetched, Release, Released, Renewal, Returned, Subscription, after};
use zephcast_core::{MemberName, Token, UnitId};

use super::balance;
use super::unit::End;
use super::{MemberId, Open};

impl Open<'_> {
    /// Adds a member. An earlier one of its name makes room, and hears of it at its next fetch. A group that was deleted
    /// takes nobody.
    pub(crate) fn join(&mut self, subscription: &Subscription) -> Option<MemberId> {
        if self.state.deleted {
            return None;
        }
        if let Some((earlier, _)) = self.state.roster.named(&subscription.member) {
            self.end(earlier, End::Unclean);
            self.state.roster.remove(earlier);
        }
        let id = self.state.roster.add(subscription, self.now);
        self.rebalance();
        self.stream.wake();
        Some(id)
    }

    /// The member lives. Returns what it says it holds and does not.
    pub(crate) fn renew(&mut self, id: MemberId, renewal: &Renewal) -> Vec<(UnitId, Token)> {
        self.revive(id);
        if let Some(member) = self.state.roster.get_mut(id) {
            member.oldest = renewal.oldest;
        }
        let held = renewal.held.iter().flat_map(|held| held.tokens.iter().map(|token| (held.unit, *token)));
        held.filter(|(unit, token)| !self.holds(id, *unit, *token)).collect()
    }

    /// The member was heard of: its lease begins anew, and if it was over, it takes part again.
    pub(crate) fn revive(&mut self, id: MemberId) {
        let now = self.now;
        let Some(member) = self.state.roster.get_mut(id) else { return };
        member.seen = now;
        member.expires = after(now, member.lease);
        if !member.alive {
            member.alive = true;
            self.rebalance();
        }
    }

    /// The member goes and gives back what it has.
    pub(crate) fn leave(&mut self, id: MemberId, returned: &[Returned]) {
        for Returned { unit, token, attempts } in returned {
            if self.holds(id, *unit, *token) {
                self.dispose(*unit, *token, &Disposition::Return { attempts: *attempts });
            }
        }
        self.end(id, End::Clean);
        self.state.roster.remove(id);
        self.rebalance();
    }

    /// The member is gone without a word.
    pub(crate) fn vanish(&mut self, id: MemberId) {
        self.end(id, End::Unclean);
        self.state.roster.remove(id);
        self.rebalance();
    }

    /// Ends the lease of every living member that `chosen` says.
    pub(crate) fn expire(&mut self, chosen: impl Fn(&MemberName) -> bool) {
        let living = self.state.roster.living();
        for id in living {
            if self.state.roster.get(id).is_some_and(|member| chosen(&member.name)) {
                self.end(id, End::Unclean);
            }
        }
        self.rebalance();
    }

    /// Whether the member's present assignment handed out this token.
    pub(super) fn holds(&self, id: MemberId, unit: UnitId, token: Token) -> bool {
        self.state.unit(unit).is_some_and(|unit| unit.owner == Some(id) && unit.is_ours(token))
    }

    /// Ends leases that ran out and moves units that were released.
    pub(super) fn let_time_pass(&mut self) {
        let mut changed = false;
        for id in self.state.roster.overdue(self.now) {
            self.end(id, End::Unclean);
            changed = true;
        }
        for revocation in self.released() {
            for unit in self.state.units.iter_mut().filter(|unit| unit.revoking == Some(revocation)) {
                unit.free(End::Clean);
                changed = true;
            }
        }
        if changed {
            self.rebalance();
        }
    }

    /// When time alone will change something for somebody.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.state.roster.next_expiry()
    }

    /// The revocations that the engine has answered since.
    fn released(&mut self) -> Vec<u64> {
        let waker = self.stream.waker();
        let mut done = Vec::new();
        self.state.revocations.retain(|id, released| {
            let over = is_released(released, &waker);
            done.extend(over.then_some(*id));
            !over
        });
        done
    }

    /// Takes everything from a member. It stays on the roster, dead, and is told when it comes back.
    fn end(&mut self, id: MemberId, end: End) {
        let mut lost = Vec::new();
        for unit in self.state.units.iter_mut().filter(|unit| unit.owner == Some(id)) {
            unit.free(end);
            lost.push(unit.id);
        }
        if let Some(member) = self.state.roster.get_mut(id) {
            member.alive = false;
            member.oldest = None;
            member.repeat.clear();
            // A release that is no longer awaited would only confuse.
            member.news.retain(|news| !matches!(news, Fetched::Revoking(_)));
            if !lost.is_empty() {
                member.news.push_back(Fetched::Lost(lost));
            }
        }
    }

    /// Gives free units to members, and asks those who have too many to give some up.
    fn rebalance(&mut self) {
        let living = self.state.roster.living();
        let settled = |id: MemberId| {
            let own = self.state.units.iter().filter(move |unit| unit.owner == Some(id) && unit.revoking.is_none());
            own.map(|unit| unit.id).collect::<Vec<_>>()
        };
        let owned: Vec<_> = living.iter().map(|id| settled(*id)).collect();
        let free: Vec<_> = self.state.units.iter().filter(|unit| unit.owner.is_none()).map(|unit| unit.id).collect();
        let plan = balance::plan(self.state.units.len(), &owned, &free);
        for (index, id) in living.into_iter().enumerate() {
            let of = |moves: &[(usize, UnitId)]| -> Vec<UnitId> {
                moves.iter().filter(|(member, _)| *member == index).map(|(_, unit)| *unit).collect()
            };
            self.assign(id, of(&plan.give));
            self.revoke(id, of(&plan.take));
        }
        self.stream.wake();
    }

    fn assign(&mut self, id: MemberId, units: Vec<UnitId>) {
        if units.is_empty() {
            return;
        }
        for unit in &units {
            if let Some(unit) = self.state.unit_mut(*unit) {
                unit.assign(id);
            }
        }
        if let Some(member) = self.state.roster.get_mut(id) {
            member.told_suspects = false;
        }
        self.state.roster.tell(id, Fetched::Assigned(units));
    }

    fn revoke(&mut self, id: MemberId, units: Vec<UnitId>) {
        if units.is_empty() {
            return;
        }
        let revocation = self.state.next_revocation;
        self.state.next_revocation += 1;
        for unit in &units {
            if let Some(unit) = self.state.unit_mut(*unit) {
                unit.revoking = Some(revocation);
            }
        }
        let (release, released) = Release::new(units);
        self.state.revocations.insert(revocation, released);
        self.state.roster.tell(id, Fetched::Revoking(release));
    }
}

/// Whether the engine has let go; if not, `waker` is woken when it does.
fn is_released(released: &mut Released, waker: &Waker) -> bool {
    let wait = pin!(released.wait());
    wait.poll(&mut Context::from_waker(waker)) == Poll::Ready(())
}
