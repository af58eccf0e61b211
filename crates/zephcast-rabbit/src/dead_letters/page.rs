//! The first letters of all that a look shows, by when they failed, and as they lie in the queue within a moment.

use zephcast_core::Token;
use zephcast_core::driver::DeadLetter;

use super::letter::Letter;

/// So many bytes of letters are listed at a time, and three times as many are kept meanwhile.
const BYTES: usize = 64 * 1024 * 1024;

/// Those after a place, as many as are asked for and fit into memory.
pub(super) struct Page {
    after: Option<Token>,
    limit: usize,
    kept: Letters,
    /// Those of the moment of `after`, as long as that letter has not been seen: they come before it, or it is gone.
    before: Letters,
    was_after_seen: bool,
    /// What failed then or later, and lies further back, has no room.
    end: Option<u64>,
}

impl Page {
    pub(super) fn new(after: Option<Token>, limit: usize) -> Self {
        let (kept, before) = (Letters::default(), Letters::default());
        Self { after, limit, kept, before, was_after_seen: false, end: None }
    }

    /// One more, in the order of the queue.
    pub(super) fn add(&mut self, letter: Letter) {
        let Token(moment, _) = letter.token;
        if let Some(after) = self.after
            && moment <= after.0
            && !(moment == after.0 && self.was_after_seen)
        {
            if letter.token == after {
                self.was_after_seen = true;
                self.before = Letters::default();
            } else if moment == after.0 && !self.before.is_full(self.limit) {
                self.before.push(letter);
            }
            return;
        }
        if self.end.is_some_and(|end| moment >= end) {
            return;
        }
        self.kept.push(letter);
        // The queue is almost in order, so that what is cut off is most often the newest.
        if self.kept.list.len() / 2 > self.limit || self.kept.bytes > 2 * BYTES {
            self.cut();
        }
    }

    pub(super) fn finish(mut self) -> Vec<DeadLetter> {
        let after = std::mem::take(&mut self.kept);
        self.kept = std::mem::take(&mut self.before);
        after.list.into_iter().for_each(|letter| self.kept.push(letter));
        self.cut();
        self.kept.list.into_iter().map(DeadLetter::from).collect()
    }

    /// Keeps what has room: the first ones, and one at least if any are asked for.
    fn cut(&mut self) {
        let Letters { list, bytes } = &mut self.kept;
        // Stable, so that the queue's order stays within a moment.
        list.sort_by_key(|letter| letter.token.0);
        let mut sum = 0;
        let mut fits = |letter: &Letter| {
            sum += letter.size();
            sum <= BYTES
        };
        let room = list.iter().position(|letter| !fits(letter)).unwrap_or(list.len());
        let kept = room.max(1).min(self.limit);
        if kept < list.len() {
            list.truncate(kept);
            self.end = list.last().map(|letter| letter.token.0);
        }
        *bytes = list.iter().map(Letter::size).sum();
    }
}

#[derive(Default)]
struct Letters {
    list: Vec<Letter>,
    bytes: usize,
}

impl Letters {
    fn push(&mut self, letter: Letter) {
        self.bytes += letter.size();
        self.list.push(letter);
    }

    fn is_full(&self, limit: usize) -> bool {
        self.list.len() >= limit || self.bytes > BYTES
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::message::Delivery;
    use lapin::types::{AMQPValue, FieldTable};
    use zephcast_core::{GroupName, Position, StreamName};

    use super::*;
    use crate::RabbitConfig;
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

    #[test]
    fn pages_follow_each_other_in_the_order_of_the_queue_within_a_moment() {
        for limit in 1..=9 {
            let (mut all, mut after) = (String::new(), None);
            loop {
                let (shown, last) = page(&QUEUE, after, limit);
                assert!(shown.len() <= limit);
                if shown.is_empty() {
                    break;
                }
                (all, after) = (all + &shown, last);
            }
            assert_eq!(all, "abcdefghi", "{limit} at a time");
        }
    }

    #[test]
    fn where_the_last_letter_is_gone_nothing_is_left_out() {
        let (_, after) = page(&QUEUE, None, 4);
        let rest: Vec<_> = QUEUE.into_iter().filter(|(payload, _)| *payload != "d").collect();
        assert_eq!(page(&rest, after, 3).0, "cef", "what was shown of its moment is shown again");
        assert_eq!(page(&rest, after, 9).0, "cefghi");
    }
}
