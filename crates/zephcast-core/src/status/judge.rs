//! What two looks at a group say: its state, and its rates.

use std::time::Duration;

use crate::{GroupState, GroupStatus, Judgement, MemberState, MemberStatus, Rates};

/// How rarely plain clients commit: `auto.commit.interval.ms` is 5 s by default in Kafka's own and in librdkafka.
const RARE_COMMITS: Duration = Duration::from_secs(6);

impl GroupStatus {
    /// Judges the group by this look alone: it can tell `empty` and `stuck`; progress needs two looks.
    #[must_use]
    pub fn judge(&self) -> Judgement {
        let (state, evidence) =
            self.state_of_one_look().unwrap_or_else(|| match (self.has_living_member(), self.lag) {
                (false, Some(lag)) => (GroupState::Stalled, format!("lag {lag} and no member")),
                (_, Some(lag)) => (GroupState::Ok, format!("lag {lag}, one look")),
                (_, None) => (GroupState::Ok, "lag unknown, one look".into()),
            });
        Judgement { state, evidence }
    }

    /// Judges the group by what changed since an `earlier` look, as [Burrow] does: by progress, not by a threshold.
    ///
    /// [Burrow]: https://github.com/linkedin/Burrow/wiki/Consumer-Lag-Evaluation-Rules
    #[must_use]
    pub fn judge_since(&self, earlier: &Self) -> Judgement {
        let (state, evidence) = self.state_of_one_look().unwrap_or_else(|| self.state_since(earlier));
        Judgement { state, evidence }
    }

    /// How much was published and settled a second since an `earlier` look. What a broker does not count is `None`, and so
    /// is everything when no time has passed.
    #[must_use]
    pub fn rates_since(&self, earlier: &Self) -> Rates {
        let seconds = self.looked_at.saturating_duration_since(earlier.looked_at).as_secs_f64();
        let rate = |count: Option<i128>| count.filter(|_| seconds > 0.0).map(|count| count.max(0) as f64 / seconds);
        let published = self.published.zip(earlier.published).map(|(now, before)| i128::from(now) - i128::from(before));
        Rates { published: rate(published), settled: rate(self.settled_since(earlier)) }
    }

    /// What does not depend on progress.
    fn state_of_one_look(&self) -> Option<(GroupState, String)> {
        if let Some(stuck) = self.members.iter().find(|member| member.state == MemberState::Stuck) {
            let held = stuck.oldest_delivery.unwrap_or_default().as_millis();
            return Some((GroupState::Stuck, format!("{} holds a delivery for {held} ms", stuck.name)));
        }
        match (self.lag?, self.has_living_member()) {
            (0, true) => Some((GroupState::Ok, "nothing to do".into())),
            (0, false) => Some((GroupState::Empty, "no member and nothing to do".into())),
            (lag, true) if self.delayed == Some(lag) => {
                Some((GroupState::Ok, format!("nothing to do but {lag} that wait for another attempt")))
            }
            _ => None,
        }
    }

    fn state_since(&self, earlier: &Self) -> (GroupState, String) {
        let lag = |status: &Self| status.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        let (before, now) = (lag(earlier), lag(self));
        let watched = self.looked_at.saturating_duration_since(earlier.looked_at);
        // Of members that say nothing of themselves only commits are seen.
        let may_have_settled = self.in_flight.is_none() && self.has_living_member() && watched < RARE_COMMITS;
        match self.moved_since(earlier) {
            false if may_have_settled => (
                GroupState::Ok,
                format!("lag {before} then {now}, nothing committed in {watched:.1?}; look for longer"),
            ),
            false if !self.may_settle_unseen() => {
                (GroupState::Stalled, format!("lag {before} then {now}, nothing settled"))
            }
            _ if self.lag.zip(earlier.lag).is_some_and(|(now, before)| now > before) => {
                (GroupState::Lagging, format!("lag grew from {before} to {now}"))
            }
            true => (GroupState::Ok, format!("lag {before} then {now}")),
            false => (GroupState::Ok, format!("lag {before} then {now}, and nobody knows what is settled")),
        }
    }

    /// Whether nobody counts what is settled, and somebody may be at work who does not say.
    fn may_settle_unseen(&self) -> bool {
        let is_counted =
            self.published.is_some() || self.units.iter().any(|unit| unit.committed.is_some() || unit.end.is_some());
        let is_at_work = |member: &MemberStatus| {
            member.state == MemberState::Active && member.settled.is_none() && member.idle.is_none()
        };
        let is_unknown = self.lag.is_none() && self.in_flight.is_none();
        !is_counted && (is_unknown || self.members.iter().any(is_at_work))
    }

    fn has_living_member(&self) -> bool {
        self.members.iter().any(|member| member.state != MemberState::Dead)
    }

    /// Whether anything was settled since: counted where the broker counts, else by less to do, a position
    /// that moved, or what members say.
    fn moved_since(&self, earlier: &Self) -> bool {
        if let Some(settled) = self.settled_since(earlier) {
            return settled > 0;
        }
        let committed = |status: &Self| status.units.iter().map(|unit| unit.committed.clone()).collect::<Vec<_>>();
        self.lag.zip(earlier.lag).is_some_and(|(now, before)| now < before)
            || committed(self) != committed(earlier)
            || self.members.iter().any(|member| member.moved_since(earlier))
    }

    /// What was published since and is no longer to be settled. Negative when dead letters were sent back.
    fn settled_since(&self, earlier: &Self) -> Option<i128> {
        let done = |status: &Self| status.published.zip(status.lag).map(|(all, lag)| i128::from(all) - i128::from(lag));
        done(self).zip(done(earlier)).map(|(now, before)| now - before)
    }
}

impl MemberStatus {
    /// Whether it says that it settled anything since: all that it says if it was not there, or began anew. Of one that did
    /// not answer nobody knows whether it was there.
    fn moved_since(&self, earlier: &GroupStatus) -> bool {
        let before = match earlier.members.iter().find(|member| member.name == self.name) {
            Some(member) => member.settled,
            None => earlier.in_flight.map(|_| 0),
        };
        let Some((now, before)) = self.settled.zip(before) else { return false };
        now > if before <= now { before } else { 0 }
    }
}
