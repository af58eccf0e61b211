//! The first letters of all that a look shows: by when they failed, and as they lie in the queue within a moment, but that
//! those of a kind come together.

use std::collections::{BTreeMap, HashMap, HashSet};

use zephcast_core::Token;
use zephcast_core::driver::DeadLetter;

use super::letter::Letter;
use super::place;

/// So many bytes of letters are listed at a time, and twice as many are kept meanwhile.
const BYTES: usize = 64 * 1024 * 1024;

/// Those after a place, as many as are asked for and fit into memory.
pub(super) struct Page {
    after: Option<Token>,
    /// How many of the kind of `after` were seen.
    alike: u64,
    kept: Letters,
    /// Those of the moment of `after`, as long as none of its kind has been seen: they come before it, or it is gone.
    before: Letters,
    /// The kinds of all that came before it in its moment. More of them may lie further back.
    passed: HashSet<Token>,
}

impl Page {
    pub(super) fn new(after: Option<Token>, limit: usize) -> Self {
        let (kept, before) = (Letters::new(limit), Letters::new(limit));
        Self { after, alike: 0, kept, before, passed: HashSet::new() }
    }

    /// One more, in the order of the queue.
    pub(super) fn add(&mut self, letter: Letter) {
        if let Some(after) = self.after
            && letter.kind.0 <= after.0
        {
            if letter.kind.0 < after.0 || self.passed.contains(&letter.kind) && self.alike > 0 {
                return;
            }
            if letter.kind == place::kind_of(after) {
                self.alike += 1;
                self.before.clear();
                // What lay behind it is to be shown. Which these are makes no difference, nor which are gone.
                if self.alike > place::behind(after) {
                    return;
                }
            } else if self.alike == 0 {
                self.passed.insert(letter.kind);
                return self.before.add(letter);
            }
        }
        self.kept.add(letter);
    }

    pub(super) fn finish(self) -> Vec<DeadLetter> {
        let mut letters = self.before;
        letters.go_on(self.kept);
        letters.shown().collect()
    }
}

/// The first ones of those that were added, as many as have room, and one at least if any are asked for.
struct Letters {
    limit: usize,
    /// By their moment, and by when the first one of the kind was seen.
    kinds: BTreeMap<(u64, usize), Kind>,
    /// When that was, of all these kinds.
    seats: HashMap<Token, usize>,
    /// Of the next one that is new.
    next_seat: usize,
    /// How many letters are kept, and how large they are.
    count: usize,
    bytes: usize,
    /// What failed then or later, and is of no kind that is kept, has no room.
    end: Option<u64>,
}

/// Letters that are alike.
#[derive(Default)]
struct Kind {
    kept: Vec<Letter>,
    /// How many there are, with those that are not kept.
    count: u64,
}

impl Letters {
    fn new(limit: usize) -> Self {
        let (kinds, seats) = (BTreeMap::new(), HashMap::new());
        Self { limit, kinds, seats, next_seat: 0, count: 0, bytes: 0, end: None }
    }

    fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    fn add(&mut self, letter: Letter) {
        let Token(moment, _) = letter.kind;
        let seat = match self.seats.get(&letter.kind) {
            Some(seat) => *seat,
            None if self.end.is_some_and(|end| moment >= end) => return,
            None => {
                self.next_seat += 1;
                self.seats.insert(letter.kind, self.next_seat);
                self.next_seat
            }
        };
        self.count += 1;
        self.bytes += letter.size();
        let kind = self.kinds.entry((moment, seat)).or_default();
        kind.count += 1;
        kind.kept.push(letter);
        self.cut();
    }

    /// Takes in what failed later than all that is here.
    fn go_on(&mut self, later: Self) {
        // Else something of what is here would be left out.
        if self.end.is_none() {
            self.kinds.extend(later.kinds);
            self.seats.extend(later.seats);
            self.count += later.count;
            self.bytes += later.bytes;
            self.cut();
        }
    }

    fn cut(&mut self) {
        while self.count > self.limit || self.bytes > BYTES && self.count > 1 {
            let Some(mut last) = self.kinds.last_entry() else { break };
            self.end = Some(last.key().0);
            let Some(letter) = last.get_mut().kept.pop() else { break };
            self.count -= 1;
            self.bytes -= letter.size();
            if last.get().kept.is_empty() {
                last.remove();
                self.seats.remove(&letter.kind);
            }
        }
    }

    fn shown(self) -> impl Iterator<Item = DeadLetter> {
        let shown =
            |Kind { kept, count }| (0..count).rev().zip(kept).map(|(behind, letter)| letter.shown_before(behind));
        self.kinds.into_values().flat_map(shown)
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::message::Delivery;
    use lapin::types::{AMQPValue, FieldTable};
    use zephcast_core::{GroupName, Position, PositionStyle, StreamName};

    use super::*;
    use crate::RabbitConfig;
    use crate::member::UNIT;
    use crate::names::Names;

    /// A letter that failed then.
    fn letter((payload, moment): (&str, i64)) -> Letter {
        let (stream, group) = (StreamName::new("orders").unwrap(), GroupName::new("billing").unwrap());
        let names = Names::new(&RabbitConfig::new("h", 1), &stream, &group).unwrap();
        let mut delivery = Delivery::mock(1, "".into(), "orders.billing.dead".into(), false, payload.into());
        let mut headers = FieldTable::default();
        headers.insert("zephcast-last-failed-ms".into(), AMQPValue::LongLongInt(moment));
        delivery.properties = BasicProperties::default().with_headers(headers);
        Letter::open(&names, delivery)
    }

    /// What a page shows, and where its last letter lies.
    fn page(queue: &[(&str, i64)], after: Option<Position>, limit: usize) -> (String, Option<Position>) {
        let mut page = Page::new(after.map(|after| after.token), limit);
        queue.iter().copied().map(letter).for_each(|letter| page.add(letter));
        let letters = page.finish();
        let shown = letters.iter().map(|letter| String::from_utf8_lossy(letter.message.payload()).into_owned());
        (shown.collect(), letters.last().map(|letter| letter.position))
    }

    const QUEUE: [(&str, i64); 9] =
        [("c", 2), ("d", 2), ("a", 1), ("b", 1), ("e", 2), ("f", 2), ("h", 4), ("g", 3), ("i", 4)];

    /// What all pages show, which are as many as so many letters need.
    fn pages(queue: &[(&str, i64)], limit: usize) -> String {
        let (mut all, mut after) = (String::new(), None);
        loop {
            let (shown, last) = page(queue, after, limit);
            assert!(shown.len() <= limit && all.len() <= queue.len(), "{limit} at a time: {all}, and then {shown}");
            if shown.is_empty() {
                return all;
            }
            (all, after) = (all + &shown, last);
        }
    }

    #[test]
    fn pages_follow_each_other_in_the_order_of_the_queue_within_a_moment() {
        for limit in 1..=9 {
            assert_eq!(pages(&QUEUE, limit), "abcdefghi", "{limit} at a time");
        }
    }

    #[test]
    fn what_is_alike_is_shown_as_often_as_it_is_there_and_together() {
        for limit in 1..=4 {
            assert_eq!(pages(&[("a", 1), ("a", 1), ("a", 1), ("b", 2)], limit), "aaab", "{limit} at a time");
        }
        for limit in 1..=9 {
            let mixed = [("c", 2), ("x", 1), ("a", 1), ("y", 1), ("a", 1), ("x", 1), ("a", 2), ("a", 1), ("z", 1)];
            assert_eq!(pages(&mixed, limit), "xxaaayzca", "{limit} at a time");
        }
    }

    #[test]
    fn pages_of_what_is_alike_go_on_where_some_are_gone_or_came() {
        let queue = |alike: usize| [vec![("x", 1)], vec![("a", 1); alike], vec![("b", 1), ("c", 2)]].concat();
        let (shown, after) = page(&queue(10), None, 6);
        assert_eq!(shown, "xaaaaa");
        for (alike, rest) in [
            (10, "aaaaabc"),
            (5, "aaaaabc"),
            // Nobody knows whether these were shown.
            (7, "aaaaabc"),
            (3, "aaabc"),
            // Also what is new is for another time.
            (12, "aaaaabc"),
            // Nothing says where its place was.
            (0, "xbc"),
        ] {
            assert_eq!(page(&queue(alike), after, 20).0, rest, "{alike} are there");
        }
        let (_, last) = page(&queue(10), None, 11);
        assert_eq!(page(&[queue(10), vec![("a", 1)]].concat(), last, 9).0, "bc", "it came when all were shown");
    }

    /// More than can be counted share a place. Those after it have places of their own, each nearer to the end.
    #[test]
    fn whatever_is_there_fewer_are_shown_after_each_place() {
        let kind = letter(("a", 1)).kind;
        let at = |behind| Position::new(PositionStyle::EntryId, UNIT, place::before(kind, behind));
        assert_eq!(at(u64::MAX), at(place::MOST_BEHIND));
        assert_ne!(at(place::MOST_BEHIND), at(place::MOST_BEHIND - 1));
        let queue = [[("a", 1); 8].as_slice(), &[("b", 1)]].concat();
        for (after, shown) in [(place::MOST_BEHIND, "aaaaaaaab"), (3, "aaab"), (1, "ab"), (0, "b")] {
            assert_eq!(page(&queue, Some(at(after)), 20).0, shown, "{after} were behind it");
        }
        assert_eq!(page(&queue, Some(at(place::MOST_BEHIND)), 3).1, Some(at(5)));
        assert_eq!(page(&queue, Some(at(3)), 2).1, Some(at(1)));
    }

    #[test]
    fn what_has_no_room_is_for_the_next_page_also_where_smaller_ones_would_fit() {
        let large = "l".repeat(BYTES / 2);
        let queue = [(&large[..], 1), (&large[1..], 1), ("a", 1), ("a", 2), ("b", 0), ("a", 1)];
        let lengths = |after, limit| {
            let (shown, last) = page(&queue, after, limit);
            (shown.len(), last)
        };
        let (first, after) = lengths(None, 9);
        assert_eq!(first, 1 + BYTES / 2);
        let (second, after) = lengths(after, 9);
        assert_eq!(second, BYTES / 2 - 1 + 3);
        assert_eq!(page(&queue, after, 9).0, "");
        // And where the place is gone.
        let gone = Position::new(PositionStyle::EntryId, UNIT, Token(1, 0));
        assert_eq!(lengths(Some(gone), 9).0, BYTES / 2);
    }

    #[test]
    fn where_the_last_letter_is_gone_nothing_is_left_out() {
        let (_, after) = page(&QUEUE, None, 4);
        let rest: Vec<_> = QUEUE.into_iter().filter(|(payload, _)| *payload != "d").collect();
        assert_eq!(page(&rest, after, 3).0, "cef", "what was shown of its moment is shown again");
        assert_eq!(page(&rest, after, 9).0, "cefghi");
    }
}
