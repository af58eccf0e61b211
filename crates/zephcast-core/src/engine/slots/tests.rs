use std::sync::atomic::AtomicUsize;

use super::*;
use crate::Message;

fn slots() -> Slots {
    let incoming = |number| Incoming {
        token: Token(number, 0),
        origin: (UnitId(0), Token(number, 0)),
        message: Message::new("x"),
        attempt: 1,
        published_ms: None,
        first_failed_ms: None,
        redelivered: false,
        suspect: false,
    };
    let messages: Vec<_> = (0..Slots::MOST as u64).map(incoming).collect();
    Slots::of_first(UnitId(0), Arc::default(), &messages)
}

/// Threads that ack neighbours in one word at the same moment, over and over.
#[test]
fn no_ack_is_lost_to_one_beside_it() {
    const THREADS: usize = 2;
    let flights: Vec<_> = (0..2_000).map(|_| slots()).collect();
    let arrived = AtomicUsize::new(0);
    let work = &|thread: usize| {
        for (round, slots) in flights.iter().enumerate() {
            arrived.fetch_add(1, Ordering::SeqCst);
            // They must begin within nanoseconds of each other; only who waits for long lets others run.
            let mut spins = 0_u32;
            while arrived.load(Ordering::SeqCst) < (round + 1) * THREADS {
                spins += 1;
                if spins.is_multiple_of(4_096) { std::thread::yield_now() } else { std::hint::spin_loop() }
            }
            (thread..Slots::MOST).step_by(THREADS).for_each(|index| slots.ack(index));
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|thread| drop(scope.spawn(move || work(thread)))));
    let lost = flights.iter().filter(|slots| slots.acked() != u64::MAX).count();
    assert_eq!(lost, 0, "flights with an ack lost");
}
