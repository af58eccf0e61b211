use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::core::Settings;
use super::super::isolation::Isolation;
use super::*;
use crate::driver::Subscription;
use crate::{GroupName, PositionStyle, Retry, StreamName, Token};

const UNIT: UnitId = UnitId(0);

fn core() -> Arc<MemberCore> {
    let subscription = Subscription::new(StreamName::new("stream").unwrap(), GroupName::new("group").unwrap());
    let settings = Settings {
        prefetch_bytes: 1 << 20,
        retry: Retry::default(),
        drain: Duration::from_secs(1),
        flush_count: 500,
        flush_after: Duration::from_millis(5),
    };
    MemberCore::new(subscription, settings, PositionStyle::UnitOffset, Arc::new(Isolation::new()))
}

fn incoming(number: usize, payload: Bytes) -> Incoming {
    let token = Token(number as u64, 0);
    Incoming {
        token,
        origin: (UnitId(0), token),
        message: Message::new(payload),
        attempt: 1,
        published_ms: None,
        first_failed_ms: None,
        redelivered: false,
        suspect: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn flights_hold_every_message_in_order_and_are_small(sizes in prop::collection::vec(0_usize..40_000, 0..300)) {
        let payload = |size: &usize| Bytes::from(vec![0; *size]);
        let messages = sizes.iter().enumerate().map(|(number, size)| incoming(number, payload(size))).collect();
        let flights: Vec<_> = Flight::of(&core(), UNIT, &Arc::default(), messages).collect();
        let numbers: Vec<u64> = flights.iter().flat_map(|flight| &flight.messages).map(|message| message.token.0).collect();
        prop_assert_eq!(numbers, (0..sizes.len() as u64).collect::<Vec<_>>());
        for flight in &flights {
            let bytes: usize = flight.messages.iter().map(|incoming| incoming.message.byte_len()).sum();
            prop_assert!(flight.len() <= Slots::MOST);
            prop_assert!(bytes <= Slots::MOST_BYTES || flight.len() == 1);
        }
        for (this, next) in flights.iter().zip(flights.iter().skip(1)) {
            let bytes: usize = this.messages.iter().chain(next.messages.first()).map(|one| one.message.byte_len()).sum();
            prop_assert!(this.len() == Slots::MOST || bytes > Slots::MOST_BYTES, "a flight ends when it is full");
        }
    }
}

/// A payload that tells when it leaves memory.
struct Told(usize, Arc<Mutex<Vec<usize>>>);

impl AsRef<[u8]> for Told {
    fn as_ref(&self) -> &[u8] {
        b"payload"
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[test]
fn messages_leave_memory_with_the_last_delivery_of_their_flight() {
    let gone: Arc<Mutex<Vec<usize>>> = Arc::default();
    let core = core();
    let messages = (0..100).map(|n| incoming(n, Bytes::from_owner(Told(n, gone.clone())))).collect();
    let epoch = core.window().epoch(UNIT);
    let flights: Vec<_> = Flight::of(&core, UNIT, &epoch, messages).collect();
    flights.iter().for_each(|flight| core.window().hand_in(flight.slots.clone()));
    let mut items: Vec<_> = flights.into_iter().flat_map(Flight::items).collect();
    let held = items.remove(5);
    for item in items {
        item.slots().ack(item.index);
    }
    assert_eq!(*gone.lock().unwrap(), (Slots::MOST..100).collect::<Vec<_>>(), "before anything is collected");
    let mut window = core.window();
    window.sweep();
    window.confirmed();
    assert!(window.knows(UNIT, Token(99, 0)), "the window remembers tokens, not messages");
    drop(held);
    assert_eq!(gone.lock().unwrap().len(), 100);
}
