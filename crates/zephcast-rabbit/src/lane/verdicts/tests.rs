use std::collections::HashSet;

use bytes::Bytes;
use lapin::types::{AMQPValue, FieldTable};
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
    Outgoing::to_queue("", BasicProperties::default().with_message_id(id.to_string().into()), "")
}

fn of(verdict: &Verdict) -> Option<Fate> {
    match verdict {
        Verdict::Ack => Some(Fate::Taken),
        Verdict::Nack => Some(Fate::Refused),
        Verdict::Returned => Some(Fate::Nowhere),
        Verdict::NotSent | Verdict::Bad(_) | Verdict::Failed(_) => None,
    }
}

/// A foreign message without an id on its way to a queue, as a copy of a delivery.
fn copy_of(origin: &str, payload: &'static [u8]) -> Outgoing {
    let mut headers = FieldTable::default();
    headers.insert(ORIGIN.into(), AMQPValue::LongString(origin.into()));
    Outgoing {
        properties: BasicProperties::default().with_headers(headers),
        payload: Bytes::from_static(payload),
        ..message(0)
    }
}

fn ack(returned: Option<&Outgoing>) -> Result<Answer, Fault> {
    Ok(Answer { is_ack: true, returned: returned.map(Mark::of) })
}

#[test]
fn whoever_completes_with_itself_was_returned_whatever_is_alike() {
    let mut verdicts = Verdicts::new(Arc::new(AtomicUsize::new(usize::MAX)));
    let (returned, taken) = (copy_of("1-1", b"a"), copy_of("1-1", b"a"));
    let places = [&returned, &taken, &message(1)].map(|message| verdicts.published(message));
    verdicts.completed(places[0], ack(Some(&returned)));
    verdicts.completed(places[1], ack(None));
    let decided: Vec<_> = verdicts.swept(false).collect();
    let fates: Vec<_> = decided.iter().map(|(place, verdict)| (*place, of(verdict))).collect();
    assert_eq!(fates, [(places[0], Some(Fate::Nowhere)), (places[1], Some(Fate::Taken))]);
}

#[test]
fn copies_without_an_id_are_told_apart_by_what_they_are_copies_of() {
    let marks: HashSet<Mark> = [("1-1", &b"a"[..]), ("2-1", b"a"), ("1-2", b"a"), ("1-1", b"b")]
        .map(|(of, what)| Mark::of(&copy_of(of, what)))
        .into();
    assert_eq!(marks.len(), 4);
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
