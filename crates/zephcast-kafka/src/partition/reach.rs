//! How far a durable place lets records go out: whoever comes after a death finds in it everything that may have been.

use std::collections::BTreeSet;

use super::{Partition, offset_of};
use crate::place::Place;
use crate::ranges::Ranges;

/// How far ahead of what is out the place reaches at first, in records. As much has to be taken one at a time after a
/// death.
pub(super) const SHORTEST_REACH: i64 = 128;
/// How far at most, where so much is handed out that a commit could not keep up otherwise.
pub(super) const LONGEST_REACH: i64 = 16_384;
/// More records than this that may have been out at a death are not taken one at a time but a few at a time; if that ends
/// in another death, those few are suspects.
pub(super) const MOST_SUSPECTS: i64 = 2 * SHORTEST_REACH;
/// How many records of a retry topic may go out beside suspects at least.
const LEAST_ROOM: usize = 16;
/// So long before a record of a retry topic is due the place is to name it.
const SOON_MS: u64 = 1_000;

pub(super) enum Reach {
    /// In a stream, all up to an offset.
    Ahead(Ahead),
    /// In a retry topic, where they do not go in order, each by itself.
    Named(Named),
}

pub(super) struct Ahead {
    /// Before this offset everything was handed out.
    pub(super) handed: i64,
    /// Before this offset everything may be.
    pub(super) until: i64,
    /// By how much that is to be ahead of what was.
    pub(super) stride: i64,
    /// Up to here little is handed out at a time.
    careful_until: i64,
}

#[derive(Default)]
pub(super) struct Named {
    /// Handed out and not settled.
    out: BTreeSet<i64>,
    /// These may be, but for what is settled.
    granted: BTreeSet<i64>,
}

impl Named {
    /// How many more may be named. Suspects leave some room: they may be due last.
    fn room(&self, suspects: &Ranges) -> usize {
        let most = MOST_SUSPECTS as usize;
        let suspected = usize::try_from(suspects.len()).unwrap_or(most).min(most - LEAST_ROOM);
        let named = self.granted.union(&self.out).filter(|offset| !suspects.contains(**offset)).count();
        most.saturating_sub(suspected + named)
    }
}

impl Reach {
    pub(super) fn new(in_order: bool, next: i64, careful_until: i64) -> Self {
        match in_order {
            true => Self::Ahead(Ahead { handed: next, until: next, stride: SHORTEST_REACH, careful_until }),
            false => Self::Named(Named::default()),
        }
    }

    /// Whether this record may go out.
    pub(super) fn has(&self, offset: i64) -> bool {
        match self {
            Self::Ahead(ahead) => offset < ahead.until,
            Self::Named(named) => named.granted.contains(&offset),
        }
    }

    /// Whether a former owner, which died, may have handed this record out.
    pub(super) fn may_have_been_out(&self, offset: i64) -> bool {
        matches!(self, Self::Ahead(ahead) if offset < ahead.careful_until)
    }

    /// These went out.
    pub(super) fn handed(&mut self, offsets: impl Iterator<Item = i64>) {
        match self {
            Self::Ahead(ahead) => ahead.handed = offsets.map(|offset| offset + 1).fold(ahead.handed, i64::max),
            Self::Named(named) => named.out.extend(offsets),
        }
    }

    /// This one is settled.
    pub(super) fn settled(&mut self, offset: i64) {
        if let Self::Named(named) = self {
            named.out.remove(&offset);
            named.granted.remove(&offset);
        }
    }

    /// Everything before this offset is.
    pub(super) fn settled_before(&mut self, next: i64) {
        match self {
            Self::Ahead(ahead) => ahead.handed = ahead.handed.max(next),
            Self::Named(named) => {
                for offsets in [&mut named.out, &mut named.granted] {
                    if offsets.first().is_some_and(|offset| *offset < next) {
                        *offsets = offsets.split_off(&next);
                    }
                }
            }
        }
    }
}

impl Partition {
    /// Whether the next commit may be waited for before anything more is handed out.
    pub(crate) fn wants_reach(&self, now_ms: u64) -> bool {
        match &self.reach {
            Reach::Ahead(ahead) => {
                let wanted = match self.is_careful() {
                    true => self.next + SHORTEST_REACH / 2,
                    false => ahead.handed + ahead.stride / 2,
                };
                wanted >= ahead.until && !self.has_suspects()
            }
            // A few at a time, not each for itself.
            Reach::Named(named) => named.room(&self.suspects) >= SHORTEST_REACH as usize && self.has_to_name(now_ms),
        }
    }

    /// Whether the next commit, whenever it is, lets more go out of a retry topic.
    pub(crate) fn names_more(&self, now_ms: u64) -> bool {
        matches!(&self.reach, Reach::Named(named) if named.room(&self.suspects) > 0) && self.has_to_name(now_ms)
    }

    /// Whether something that is due soon must not go out yet.
    fn has_to_name(&self, now_ms: u64) -> bool {
        let soon = self.waiting.due(now_ms + SOON_MS).map(|record| offset_of(&record.incoming));
        soon.into_iter().any(|offset| !self.reach.has(offset) && !self.suspects.contains(offset))
    }

    /// Whether what is handed out has to stay near what is settled.
    pub(super) fn is_careful(&self) -> bool {
        matches!(&self.reach, Reach::Ahead(ahead) if self.next < ahead.careful_until)
    }

    /// What the next place is to let out; all that may be out already is among it.
    pub(super) fn next_out(&self, now_ms: u64) -> Ranges {
        let mut out = self.suspects.clone();
        match &self.reach {
            Reach::Ahead(ahead) => {
                let wanted = if self.is_careful() { self.next + SHORTEST_REACH } else { ahead.handed + ahead.stride };
                out.insert_run(self.next, wanted.max(ahead.until));
            }
            Reach::Named(named) => {
                let room = named.room(&self.suspects);
                let soon = self.waiting.due(now_ms + SOON_MS).map(|record| offset_of(&record.incoming));
                let more = soon.filter(|offset| !named.granted.contains(offset) && !self.suspects.contains(*offset));
                named.out.union(&named.granted).copied().chain(more.take(room)).for_each(|offset| out.insert(offset));
            }
        }
        out
    }

    /// This place is durable. `pressed`: what went out was about to come to the end of what may.
    pub(super) fn extend_reach(&mut self, place: &Place, pressed: bool) {
        let is_held_up = self.is_held_up();
        match &mut self.reach {
            Reach::Ahead(ahead) => {
                let Some(until) = place.out.end().filter(|end| *end > ahead.until) else { return };
                ahead.stride = match (is_held_up, pressed) {
                    (true, _) => (ahead.stride * 2).min(LONGEST_REACH),
                    (false, true) => ahead.stride,
                    (false, false) => (ahead.stride / 2).max(SHORTEST_REACH),
                };
                ahead.until = until;
            }
            Reach::Named(named) => {
                let open = |offset: &i64| *offset >= self.next && !self.done.contains(*offset);
                let offsets = place.out.runs().flat_map(|(first, after)| first..after);
                named.granted = offsets.filter(open).filter(|offset| !self.suspects.contains(*offset)).collect();
            }
        }
    }

    /// Whether there is something to hand out as soon as the place reaches it.
    pub(super) fn is_held_up(&self) -> bool {
        self.waiting.first().is_some_and(|offset| !self.reach.has(offset))
    }
}
