//! Allocations that the small pieces of many records share.

use bytes::{Bytes, BytesMut};

/// The largest piece that shares an allocation: what is kept of it keeps its neighbours, so a large one has its own.
const LARGEST_SHARED: usize = 256;

/// The most that is allocated at once: whoever keeps one piece keeps all of it.
const LARGEST: usize = 16 * 1024;

/// Room for small pieces.
pub(crate) struct Chunk {
    room: BytesMut,
    /// How much of what was counted has no room yet.
    counted: usize,
    /// How much room is made for what was not counted.
    more: usize,
}

impl Chunk {
    /// Room for pieces of these lengths, and then `more` at a time for what was not counted.
    pub(crate) fn for_all(lengths: impl Iterator<Item = usize>, more: usize) -> Self {
        Self { room: BytesMut::new(), counted: lengths.filter(|length| *length <= LARGEST_SHARED).sum(), more }
    }

    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > LARGEST_SHARED {
            return Bytes::copy_from_slice(bytes);
        }
        if self.room.capacity() < bytes.len() {
            let wanted = if self.counted > 0 { self.counted } else { self.more };
            let room = wanted.clamp(bytes.len(), LARGEST);
            self.counted = self.counted.saturating_sub(room);
            self.room = BytesMut::with_capacity(room);
        }
        self.room.extend_from_slice(bytes);
        self.room.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_neighbours_and_a_large_one_is_alone() {
        let pieces = [vec![1; 10], vec![2; LARGEST_SHARED], vec![3; LARGEST_SHARED + 1], vec![4; 7]];
        let mut chunk = Chunk::for_all(pieces.iter().map(Vec::len), 0);
        let copies: Vec<Bytes> = pieces.iter().map(|piece| chunk.copy(piece)).collect();
        assert!(copies.iter().zip(&pieces).all(|(copy, piece)| copy == piece));
        let begins = |index: usize| copies[index].as_ptr() as usize;
        assert_eq!([begins(1), begins(3)], [begins(0) + 10, begins(0) + 10 + LARGEST_SHARED]);
    }

    #[test]
    fn few_are_kept_along_with_one() {
        let pieces = 100_000 / LARGEST_SHARED;
        let mut chunk = Chunk::for_all(std::iter::repeat_n(LARGEST_SHARED, pieces), 0);
        let copies: Vec<Bytes> = (0..pieces).map(|_| chunk.copy(&[1; LARGEST_SHARED])).collect();
        let is_next = |pair: &[Bytes]| pair[0].as_ptr() as usize + LARGEST_SHARED == pair[1].as_ptr() as usize;
        let longest = copies.chunk_by(|one, next| is_next(&[one.clone(), next.clone()])).map(<[Bytes]>::len).max();
        assert!(longest.unwrap() <= 2 * LARGEST / LARGEST_SHARED, "{longest:?}");
    }

    #[test]
    fn what_was_not_counted_has_neighbours_too() {
        let mut chunk = Chunk::for_all([4].into_iter(), 16);
        let copies: Vec<Bytes> = (0..12).map(|piece| chunk.copy(&[piece; 4])).collect();
        assert!(copies.iter().zip(0..).all(|(copy, piece)| copy[..] == [piece; 4]));
        let neighbours = copies.windows(2).filter(|pair| pair[0].as_ptr() as usize + 4 == pair[1].as_ptr() as usize);
        // One that was counted, and four at a time: 4, 4 and 3.
        assert_eq!(neighbours.count(), 3 + 3 + 2);
    }
}
