//! One allocation for the small pieces of many records.

use bytes::{Bytes, BytesMut};

/// The largest piece that shares an allocation: what is kept of it keeps its neighbours, so a large one has its own.
const LARGEST_SHARED: usize = 256;

/// Room for small pieces.
pub(crate) struct Chunk(BytesMut);

impl Chunk {
    /// Room for pieces of these lengths.
    pub(crate) fn for_all(lengths: impl Iterator<Item = usize>) -> Self {
        Self(BytesMut::with_capacity(lengths.filter(|length| *length <= LARGEST_SHARED).sum()))
    }

    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > LARGEST_SHARED || self.0.capacity() < bytes.len() {
            return Bytes::copy_from_slice(bytes);
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_neighbours_and_a_large_one_is_alone() {
        let pieces = [vec![1; 10], vec![2; LARGEST_SHARED], vec![3; LARGEST_SHARED + 1], vec![4; 7]];
        let mut chunk = Chunk::for_all(pieces.iter().map(Vec::len));
        let copies: Vec<Bytes> = pieces.iter().map(|piece| chunk.copy(piece)).collect();
        assert!(copies.iter().zip(&pieces).all(|(copy, piece)| copy == piece));
        let begins = |index: usize| copies[index].as_ptr() as usize;
        assert_eq!([begins(1), begins(3)], [begins(0) + 10, begins(0) + 10 + LARGEST_SHARED]);
        // Beyond what was counted there is an allocation for each.
        assert_eq!(chunk.copy(b"more"), "more");
    }
}
