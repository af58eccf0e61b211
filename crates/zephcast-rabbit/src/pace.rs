//! How many messages the server hands out at a time: as many as there is room for, which it counts in messages alone, so
//! that the size of a message has to be learned first.

use std::sync::atomic::{AtomicUsize, Ordering};

use zephcast_core::driver::Subscription;

use crate::RabbitConfig;
use crate::session::Session;

/// With which a member begins that does not know how large messages are.
const CAUTIOUS: usize = 16;

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
        if config.single_active_consumer || config.exclusive_consumer {
            // There is no second consumer.
            return prefetch(subscription.prefetch);
        }
        let (size, room) = (self.size.load(Ordering::Relaxed), self.room.load(Ordering::Relaxed));
        prefetch(wanted(subscription.prefetch, size, room).unwrap_or(CAUTIOUS).min(subscription.prefetch))
    }

    /// With how many to go on, where that is much more or less than now.
    pub(crate) fn next(&self, subscription: &Subscription, session: &Session, room: usize) -> Option<u16> {
        let room = self.room.fetch_max(room, Ordering::Relaxed).max(room);
        if session.is_single() {
            return None;
        }
        let size = session.inbox.mean_size()?;
        self.size.store(size, Ordering::Relaxed);
        let (wanted, now) = (wanted(subscription.prefetch, size, room)?, usize::from(session.prefetch()));
        let is_other = wanted > now && (wanted >= now * 2 || wanted == subscription.prefetch) || wanted * 2 <= now;
        is_other.then(|| prefetch(wanted))
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
}
