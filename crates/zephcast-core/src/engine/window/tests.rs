use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Message;
use crate::driver::Incoming;

const UNIT: UnitId = UnitId(0);

fn hand_in(window: &mut Window, tokens: &[u64]) -> Arc<Slots> {
    let epoch = window.epoch(UNIT);
    let incoming = tokens.iter().map(|token| Incoming {
        token: Token(*token, 0),
        origin: (UnitId(0), Token(*token, 0)),
        message: Message::new("ten bytes!"),
        attempt: 1,
        published_ms: None,
        first_failed_ms: None,
        redelivered: false,
        suspect: false,
    });
    let slots = Arc::new(Slots::of_first(UNIT, epoch, &incoming.collect::<Vec<_>>()));
    window.hand_in(slots.clone());
    slots
}

fn acked(settlement: &Settlement) -> Vec<u64> {
    settlement.units.iter().flat_map(|unit| &unit.acked).map(|token| token.0).collect()
}

fn frontier(settlement: &Settlement) -> Option<u64> {
    settlement.units.iter().filter_map(|unit| unit.frontier).map(|token| token.0).next()
}

#[test]
fn the_frontier_waits_for_the_oldest_open_delivery_and_skips_gaps() {
    let mut window = Window::new();
    let first = hand_in(&mut window, &[1, 2, 5]);
    let second = hand_in(&mut window, &[9, 10]);
    second.ack(0);
    first.ack(1);
    let settlement = window.sweep();
    assert_eq!((acked(&settlement), frontier(&settlement)), (vec![2, 9], None));
    first.ack(0);
    assert_eq!(frontier(&window.sweep()), Some(2));
    first.ack(2);
    assert_eq!(frontier(&window.sweep()), Some(9));
    second.ack(1);
    assert_eq!(frontier(&window.sweep()), Some(10));
    assert_eq!(window.in_flight(), (0, 0));
    assert!(window.sweep().units.is_empty(), "an ack is collected once");
}

#[test]
fn a_settled_token_is_known_until_fetches_that_ran_before_are_through() {
    let mut window = Window::new();
    hand_in(&mut window, &[7]).ack(0);
    window.sweep();
    assert!(window.knows(UNIT, Token(7, 0)), "collected, not confirmed");
    window.confirmed();
    window.fetched();
    assert!(window.knows(UNIT, Token(7, 0)), "the fetch that was running may bring it again");
    window.fetched();
    window.fetched();
    assert!(!window.knows(UNIT, Token(7, 0)));
}

#[test]
fn what_is_lost_frees_its_room_and_shows_it() {
    let mut window = Window::new();
    let slots = hand_in(&mut window, &[1, 2, 3]);
    assert_eq!(window.lose(UNIT, Token(2, 0)), Some(false));
    assert_eq!(window.lose(UNIT, Token(2, 0)), None);
    assert!(slots.is_lost(1) && !slots.is_lost(0));
    assert_eq!(window.in_flight(), (2, 20));
    slots.ack(0);
    assert_eq!(window.end(UNIT), Ended { open: 2, acked: 1 });
    assert!(slots.is_lost(0));
    assert_eq!(window.in_flight(), (0, 0));
    assert!(window.units().is_empty());
}

#[test]
fn closed_flights_behind_a_stuck_one_take_no_room() {
    let mut window = Window::new();
    hand_in(&mut window, &[0]);
    for token in 1..10_000 {
        hand_in(&mut window, &[token]).ack(0);
        window.sweep();
        window.confirmed();
        window.fetched();
    }
    assert!(window.units[0].pieces.len() <= 2);
    assert!(window.remembered.len() < 5 && window.settling.is_empty());
}

/// What the window must do, written the slow way: every token in a map.
#[derive(Default)]
struct Model {
    order: Vec<u64>,
    state: BTreeMap<u64, State>,
    frontier: Option<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Acked,
    Closed,
}

impl Model {
    fn sweep(&mut self) -> (Vec<u64>, Option<u64>) {
        let fresh: Vec<u64> = self.order.iter().copied().filter(|t| self.state[t] == State::Acked).collect();
        for token in &fresh {
            self.state.insert(*token, State::Closed);
        }
        let reached = self.order.iter().take_while(|t| self.state[t] == State::Closed).last().copied();
        let moved = (reached > self.frontier).then_some(reached).flatten();
        self.frontier = reached.max(self.frontier);
        (fresh, moved)
    }

    fn open(&self) -> usize {
        self.state.values().filter(|state| **state != State::Closed).count()
    }
}

#[derive(Clone, Debug)]
enum Step {
    HandIn { count: usize, gap: u64 },
    Ack(prop::sample::Index),
    Close(prop::sample::Index),
    Lose(prop::sample::Index),
    Sweep,
    Confirm,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1_usize..=Slots::MOST, 0_u64..5).prop_map(|(count, gap)| Step::HandIn { count, gap }),
        20 => any::<prop::sample::Index>().prop_map(Step::Ack),
        2 => any::<prop::sample::Index>().prop_map(Step::Close),
        2 => any::<prop::sample::Index>().prop_map(Step::Lose),
        5 => Just(Step::Sweep),
        1 => Just(Step::Confirm),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn agrees_with_a_naive_model(steps in prop::collection::vec(step(), 1..200)) {
        let (mut window, mut model) = (Window::new(), Model::default());
        let mut flights: Vec<(Arc<Slots>, usize, u64)> = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::HandIn { count, gap } => {
                    let tokens: Vec<u64> = (0..count as u64).map(|n| next + gap + n * (gap + 1)).collect();
                    next = tokens[count - 1] + 1;
                    let slots = hand_in(&mut window, &tokens);
                    for (index, token) in tokens.into_iter().enumerate() {
                        flights.push((slots.clone(), index, token));
                        model.order.push(token);
                        model.state.insert(token, State::Open);
                    }
                }
                Step::Ack(at) if !flights.is_empty() => {
                    let (slots, index, token) = at.get(&flights);
                    slots.ack(*index);
                    if model.state[token] == State::Open {
                        model.state.insert(*token, State::Acked);
                    }
                }
                Step::Close(_) | Step::Lose(_) if flights.is_empty() => {}
                Step::Close(at) => {
                    let (slots, index, token) = at.get(&flights);
                    let open = model.state.insert(*token, State::Closed) != Some(State::Closed);
                    prop_assert_eq!(window.close(slots, *index), open);
                }
                Step::Lose(at) => {
                    let token = at.get(&flights).2;
                    let open = model.state.insert(token, State::Closed) != Some(State::Closed);
                    prop_assert_eq!(window.lose(UNIT, Token(token, 0)).is_some(), open);
                }
                Step::Sweep => {
                    let settlement = window.sweep();
                    prop_assert_eq!((acked(&settlement), frontier(&settlement)), model.sweep());
                }
                Step::Confirm => window.confirmed(),
                Step::Ack(_) => {}
            }
            let open = model.open();
            prop_assert_eq!(window.in_flight(), (open, open * 10));
            prop_assert_eq!(window.held().iter().map(|held| held.tokens.len()).sum::<usize>(), open);
        }
    }
}
