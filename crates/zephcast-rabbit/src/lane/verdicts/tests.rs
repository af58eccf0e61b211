use bytes::Bytes;
use lapin::types::ShortString;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What the server makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    Refused,
    Nowhere,
}

fn message(id: usize) -> Outgoing {
    Outgoing {
        exchange: ShortString::default(),
        routing_key: ShortString::default(),
        properties: BasicProperties::default().with_message_id(id.to_string().into()),
        payload: Bytes::new(),
    }
}

fn of(verdict: &Verdict) -> Option<Fate> {
    match verdict {
        Verdict::Ack => Some(Fate::Taken),
        Verdict::Nack => Some(Fate::Refused),
        Verdict::Returned => Some(Fate::Nowhere),
        Verdict::NotSent | Verdict::Bad(_) | Verdict::Failed(_) => None,
    }
}

proptest! {
    /// The server returns in order, and confirms in any order what it has returned or need not; the client library gives the
    /// oldest returned message to whatever is confirmed next.
    #[test]
    fn each_message_has_its_own_verdict(
        fates in vec(prop_oneof![3 => Just(Fate::Taken), 1 => Just(Fate::Refused), 3 => Just(Fate::Nowhere)], 1..60),
        choices in vec(any::<usize>(), 200),
    ) {
        let mut verdicts = Verdicts::new(Arc::new(AtomicUsize::new(usize::MAX)));
        let places: Vec<Place> = (0..fates.len()).map(|id| verdicts.published(&message(id))).collect();
        let (mut nowhere, mut confirmable): (VecDeque<usize>, VecDeque<usize>) =
            (0..fates.len()).partition(|id| fates[*id] == Fate::Nowhere);
        let (mut returned, mut decided) = (VecDeque::new(), Vec::new());
        for choice in choices.into_iter().chain(std::iter::repeat_n(usize::MAX, 2 * fates.len())) {
            let may_return = choice == usize::MAX || choice % 3 == 0;
            if may_return && let Some(id) = nowhere.pop_front() {
                returned.push_back(Mark::of(&message(id)));
                confirmable.push_back(id);
            } else if !confirmable.is_empty() && choice % 3 != 1 {
                let Some(id) = confirmable.swap_remove_back(choice / 3 % confirmable.len()) else { continue };
                let is_ack = fates[id] != Fate::Refused;
                verdicts.completed(places[id], Ok(Answer { is_ack, returned: returned.pop_front() }));
            } else {
                decided.extend(verdicts.swept(false));
            }
        }
        prop_assert!(nowhere.is_empty() && confirmable.is_empty());
        decided.extend(verdicts.swept(true));
        decided.sort_by_key(|(place, _)| *place);
        prop_assert!(decided.iter().map(|(place, _)| *place).eq(places));
        prop_assert_eq!(decided.iter().filter_map(|(_, verdict)| of(verdict)).collect::<Vec<_>>(), fates);
    }
}
