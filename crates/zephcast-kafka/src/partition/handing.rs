//! What of the records that wait may go now.

use std::collections::VecDeque;

use zephcast_core::driver::{Credit, Incoming};

use super::{Partition, Record, offset_of};

impl Partition {
    /// What can be handed out now, as much of it as there is room for. `beyond` what the durable place reaches, where that
    /// cannot be moved.
    pub(crate) fn hand_out(&mut self, credit: Credit, now_ms: u64, beyond: bool) -> Vec<Incoming> {
        if self.stopped || self.in_order && self.has_suspects() {
            return Vec::new();
        }
        let reach = if beyond && !self.is_careful() { i64::MAX } else { self.reach };
        let mut bytes = 0;
        let mut fits = |record: &Record, count: usize| {
            let size = record.incoming.message.byte_len();
            let fits = count < credit.messages && (count == 0 || bytes + size <= credit.bytes);
            bytes += if fits { size } else { 0 };
            fits
        };
        let mut out = Vec::new();
        if self.in_order {
            let within = |record: &Record| offset_of(&record.incoming) < reach;
            let count = self.waiting.iter().enumerate();
            let count = count.take_while(|(count, record)| within(record) && fits(record, *count)).count();
            out.reserve(count);
            out.extend(self.waiting.drain(..count).map(|record| record.incoming));
        } else {
            let suspects_until = self.suspects_until;
            let mut kept = VecDeque::with_capacity(self.waiting.len());
            for record in self.waiting.drain(..) {
                let within = (suspects_until..reach).contains(&offset_of(&record.incoming));
                match within && record.is_due(now_ms) && fits(&record, out.len()) {
                    true => out.push(record.incoming),
                    false => kept.push_back(record),
                }
            }
            self.waiting = kept;
        }
        self.note_handed(&out, now_ms);
        out
    }

    pub(super) fn note_handed(&mut self, out: &[Incoming], now_ms: u64) {
        let Some(highest) = out.iter().map(offset_of).max() else { return };
        if self.in_flight == 0 {
            self.busy_since_ms = now_ms;
        }
        self.waiting_bytes -= out.iter().map(|incoming| incoming.message.byte_len()).sum::<usize>();
        self.handed = self.handed.max(highest + 1);
        self.in_flight += out.len() as u64;
        self.version += 1;
    }

    /// Whether what waits may have to wait long: it is not due, or comes one at a time.
    pub(crate) fn is_blocked(&self) -> bool {
        self.has_suspects() || !self.in_order
    }

    /// When the next record becomes due; those of a stream are.
    pub(crate) fn due(&self, now_ms: u64) -> Option<u64> {
        if self.in_order {
            return None;
        }
        self.waiting.iter().filter_map(|record| record.due_ms).filter(|due| *due > now_ms).min()
    }

    /// Whether there is something to hand out as soon as the place reaches it.
    pub(crate) fn is_held_up(&self) -> bool {
        self.waiting.front().is_some_and(|record| offset_of(&record.incoming) >= self.reach)
    }
}
