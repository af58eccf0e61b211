//! What of the records that wait may go now.

use zephcast_core::driver::{Credit, Incoming};

use super::reach::Reach;
use super::waiting::Look;
use super::{Partition, Record, offset_of};
use crate::place::room_for_open;

impl Partition {
    /// How many more may be handed out, so that all that is settled of them before the first one is can be told with the
    /// metadata of a commit. One in any case, when nothing is in flight.
    pub(crate) fn spare(&self, metadata: usize) -> usize {
        let Reach::Ahead(ahead) = &self.reach else { return usize::MAX };
        let in_flight = usize::try_from(self.in_flight).unwrap_or(usize::MAX);
        let room = room_for_open(metadata, self.next, &self.done, ahead.handed);
        room.saturating_sub(in_flight).max(usize::from(in_flight == 0))
    }

    /// What can be handed out now, as much of it as there is room for. `beyond` what the durable place reaches, where that
    /// cannot be moved.
    pub(crate) fn hand_out(&mut self, credit: Credit, now_ms: u64, beyond: bool) -> Vec<Incoming> {
        if self.is_stopped() || self.is_in_order() && self.has_suspects() {
            return Vec::new();
        }
        let beyond = beyond && !self.is_careful();
        let (mut count, mut bytes) = (0, 0);
        let look = |record: &Record| {
            let (offset, size) = (offset_of(&record.incoming), record.incoming.message.byte_len());
            if count == credit.messages || count > 0 && bytes + size > credit.bytes {
                return Look::Enough;
            }
            if self.suspects.contains(offset) || !beyond && !self.reach.has(offset) {
                return Look::Stays;
            }
            (count, bytes) = (count + 1, bytes + size);
            Look::Goes
        };
        let out = self.waiting.take(now_ms, look);
        self.note_handed(&out, now_ms);
        out
    }

    pub(super) fn note_handed(&mut self, out: &[Incoming], now_ms: u64) {
        if out.is_empty() {
            return;
        }
        if self.in_flight == 0 {
            self.busy_since_ms = now_ms;
        }
        self.reach.handed(out.iter().map(offset_of));
        self.in_flight += out.len() as u64;
        self.version += 1;
    }

    /// Whether what waits may have to wait long: it is not due, or comes one at a time.
    pub(crate) fn is_blocked(&self) -> bool {
        self.has_suspects() || !self.is_in_order()
    }

    /// When the next record becomes due that is not.
    pub(crate) fn due(&self, now_ms: u64) -> Option<u64> {
        self.waiting.next_due(now_ms)
    }
}
