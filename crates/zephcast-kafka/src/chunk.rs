//! Allocations that the small pieces of many records share.

use bytes::{Bytes, BytesMut};

/// The largest piece that shares an allocation: what is kept of it keeps its neighbours, so a large one has its own.
const LARGEST_SHARED: usize = 256;

/// Room for small pieces.
pub(crate) struct Chunk {
    room: BytesMut,
    /// How much is made when there is none left.
    more: usize,
}

impl Chunk {
    /// Room for pieces of these lengths, and then `more` at a time for what was not counted.
    pub(crate) fn for_all(lengths: impl Iterator<Item = usize>, more: usize) -> Self {
        Self { room: BytesMut::with_capacity(lengths.filter(|length| *length <= LARGEST_SHARED).sum()), more }
    }

    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > LARGEST_SHARED {
            return Bytes::copy_from_slice(bytes);
        }
        if self.room.capacity() < bytes.len() {
            self.room = BytesMut::with_capacity(self.more.max(bytes.len()));
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
    fn what_was_not_counted_has_neighbours_too() {
        let mut chunk = Chunk::for_all([4].into_iter(), 16);
        let copies: Vec<Bytes> = (0..12).map(|piece| chunk.copy(&[piece; 4])).collect();
        assert!(copies.iter().zip(0..).all(|(copy, piece)| copy[..] == [piece; 4]));
        let neighbours = copies.windows(2).filter(|pair| pair[0].as_ptr() as usize + 4 == pair[1].as_ptr() as usize);
        // One that was counted, and four at a time: 4, 4 and 3.
        assert_eq!(neighbours.count(), 3 + 3 + 2);
    }
}
