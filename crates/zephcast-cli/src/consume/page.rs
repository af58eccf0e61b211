//! What is about to be written to stdout, and the deliveries that count as seen once it was.

use std::collections::VecDeque;

use zephcast::Delivery;

use crate::output::line;
use crate::output::records::Record;

/// A page is written at this size at the latest, or as soon as there is nothing to add to it.
const FULL: usize = 64 * 1024;

/// Lines not written yet.
#[derive(Debug)]
pub(crate) struct Page<D = Delivery> {
    bytes: Vec<u8>,
    /// Deliveries by the end of their line.
    held: VecDeque<(usize, D)>,
}

impl<D> Page<D> {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), held: VecDeque::new() }
    }

    /// Adds a line that belongs to no delivery.
    pub(crate) fn record(&mut self, record: &Record) {
        self.bytes.extend(line(record));
    }

    /// Adds the line of a delivery.
    pub(crate) fn delivery(&mut self, line: &[u8], delivery: D) {
        self.bytes.extend(line);
        self.held.push_back((self.bytes.len(), delivery));
    }

    /// Adds a line whose delivery is kept elsewhere.
    pub(crate) fn line(&mut self, line: &[u8]) {
        self.bytes.extend(line);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// What is to be written; [`written`](Self::written) follows.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Of what was taken so many bytes were written: the deliveries whose lines are out whole.
    pub(crate) fn written(&mut self, bytes: usize) -> impl Iterator<Item = D> + use<'_, D> {
        let seen = self.held.iter().take_while(|(end, _)| *end <= bytes).count();
        self.held.drain(..seen).map(|(_, delivery)| delivery)
    }

    /// The deliveries whose lines did not make it.
    pub(crate) fn unseen(&mut self) -> impl Iterator<Item = D> + use<'_, D> {
        self.held.drain(..).map(|(_, delivery)| delivery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_are_out_whole_count_as_seen() {
        let mut page = Page::new();
        page.delivery(b"one\n", 1);
        page.line(b"news\n");
        page.delivery(b"two\n", 2);
        page.delivery(b"three\n", 3);
        assert_eq!(page.take_bytes(), b"one\nnews\ntwo\nthree\n");
        assert_eq!(page.written(18).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(page.unseen().collect::<Vec<_>>(), [3]);
    }
}
