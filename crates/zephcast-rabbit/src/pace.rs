//! How many messages the server hands out at a time: as many as there is room for, which it counts in messages alone, so
//! that the size of a message has to be learned first.

use std::sync::atomic::{AtomicUsize, Ordering};

use zephcast_core::driver::Subscription;

use crate::RabbitConfig;
use crate::session::Session;

/// With which a member begins that does not know how large messages are.
const CAUTIOUS: usize = 16;

/// As [`CAUTIOUS`], where the window cannot grow later.
const CAUTIOUS_FOR_GOOD: usize = 256;

/// What is to be done about the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is to be this large, once it is full.
    Grow(u16),
    /// It is to be this small, since there is no room for more.
    Shrink(u16),
    /// It is far too large, and another one takes a new session.
    Rejoin,
}

/// What was learned, over sessions.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The size of a message when it was last looked at; 0 before.
    size: AtomicUsize,
    /// The most bytes that there was room for, which is that of an empty window.
    room: AtomicUsize,
}

impl Pace {
    /// With how many a session begins.
    pub(crate) fn first(&self, subscription: &Subscription, config: &RabbitConfig) -> u16 {
        // Where the queue goes from one consumer to the next, none can take the place of another.
        let is_single = config.single_active_consumer || config.exclusive_consumer;
        let unknown = match is_single {
            true => CAUTIOUS_FOR_GOOD,
            // What is held would be taken off a larger window, of which too little would be left.
            false if subscription.prefetch <= 3 * CAUTIOUS => subscription.prefetch,
            false => CAUTIOUS,
        };
        let (size, room) = (self.size.load(Ordering::Relaxed), self.room.load(Ordering::Relaxed));
        prefetch(wanted(subscription.prefetch, size, room).unwrap_or(unknown).min(subscription.prefetch))
    }

    /// What is to be done about the window.
    pub(crate) fn next(&self, subscription: &Subscription, session: &Session, room: usize) -> Option<Turn> {
        let room = self.room.fetch_max(room, Ordering::Relaxed).max(room);
        let size = session.inbox.mean_size()?;
        self.size.store(size, Ordering::Relaxed);
        let wanted = wanted(subscription.prefetch, size, room)?;
        // Beside what is held already.
        let free = subscription.prefetch.saturating_sub(session.held().len());
        let turn = turn(wanted, usize::from(session.prefetch()), free, session.is_single())?;
        // As long as there is room in it, nothing is gained by more.
        (!matches!(turn, Turn::Grow(_)) || session.is_full()).then_some(turn)
    }
}

/// What is to be done where the window has `now` and would have to have `wanted`, and one that takes its place may have
/// `free`: small steps are not worth it.
fn turn(wanted: usize, now: usize, free: usize, is_single: bool) -> Option<Turn> {
    let next = wanted.min(free);
    match is_single {
        // What is held is lost by it.
        true => (wanted * 4 <= now).then_some(Turn::Rejoin),
        false if next >= now * 2 => Some(Turn::Grow(prefetch(next))),
        false => (wanted * 2 <= now).then(|| Turn::Shrink(prefetch(next))),
    }
}

/// As many as fit into the room, and no more than are asked for.
fn wanted(most: usize, size: usize, room: usize) -> Option<usize> {
    Some(room.checked_div(size)?.clamp(1, most.max(1)))
}

/// The server counts in 16 bits, and takes 0 for no limit.
fn prefetch(messages: usize) -> u16 {
    u16::try_from(messages).unwrap_or(u16::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_are_few_and_small_ones_as_many_as_asked_for() {
        assert_eq!(wanted(1_000, 1 << 20, 16 << 20), Some(16));
        assert_eq!(wanted(1_000, 32 << 20, 16 << 20), Some(1));
        assert_eq!(wanted(1_000, 100, 16 << 20), Some(1_000));
        assert_eq!(wanted(1_000, 0, 16 << 20), None);
        assert_eq!((prefetch(0), prefetch(100_000)), (1, u16::MAX));
    }

    #[test]
    fn a_window_changes_by_much_or_not_at_all() {
        let shared = |wanted, now| turn(wanted, now, 1_000, false);
        assert_eq!(turn(1_000, 16, 984, false), Some(Turn::Grow(984)), "beside the 16 that are held");
        assert_eq!(turn(16, 1_000, 0, false), Some(Turn::Shrink(1)), "as many are held as may be");
        assert_eq!(turn(490, 16, 5, false), None, "it would be smaller");
        assert_eq!((shared(16, 16), shared(20, 16), shared(10, 16)), (None, None, None));
        assert_eq!((shared(32, 16), shared(8, 16)), (Some(Turn::Grow(32)), Some(Turn::Shrink(8))));
        assert_eq!(shared(1_000, 900), None);
        let single = |wanted, now| turn(wanted, now, 1_000, true);
        assert_eq!((single(1_000, 256), single(100, 256)), (None, None));
        assert_eq!(single(64, 256), Some(Turn::Rejoin));
    }
}
