//! The first letters in order of all that a look shows.

use zephcast_core::Token;
use zephcast_core::driver::DeadLetter;

use super::letter::Letter;

/// So many bytes of letters are listed at a time, and twice as many are kept meanwhile.
const BYTES: usize = 64 * 1024 * 1024;

/// Those after a place, as many as are asked for and fit into memory.
pub(super) struct Page {
    after: Option<Token>,
    limit: usize,
    letters: Vec<Letter>,
    bytes: usize,
    /// Those after it have no room.
    end: Option<Token>,
}

impl Page {
    pub(super) fn new(after: Option<Token>, limit: usize) -> Self {
        Self { after, limit, letters: Vec::new(), bytes: 0, end: None }
    }

    pub(super) fn add(&mut self, letter: Letter) {
        let is_before = self.after.is_some_and(|after| letter.token <= after);
        let is_behind = self.end.is_some_and(|end| letter.token > end);
        if is_before || is_behind {
            return;
        }
        self.bytes += letter.size();
        self.letters.push(letter);
        // The queue is almost in order, so that what is cut off is most often the newest.
        if self.letters.len() / 2 > self.limit || self.bytes > 2 * BYTES {
            self.cut();
        }
    }

    pub(super) fn finish(mut self) -> Vec<DeadLetter> {
        self.cut();
        self.letters.into_iter().map(DeadLetter::from).collect()
    }

    /// Keeps what has room: the first ones, and one at least if any are asked for.
    fn cut(&mut self) {
        self.letters.sort_by_key(|letter| letter.token);
        let mut bytes = 0;
        let mut fits = |letter: &Letter| {
            bytes += letter.size();
            bytes <= BYTES
        };
        let room = self.letters.iter().position(|letter| !fits(letter)).unwrap_or(self.letters.len());
        let kept = room.max(1).min(self.limit);
        if kept < self.letters.len() {
            self.letters.truncate(kept);
            self.end = self.letters.last().map(|letter| letter.token);
        }
        self.bytes = self.letters.iter().map(Letter::size).sum();
    }
}
