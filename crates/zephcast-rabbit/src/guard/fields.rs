//! The walk over what a frame carries, in the order in which the client library reads it.
//!
//! What is malformed ends the walk, as it ends the library's reading: what comes after it has no meaning to either.

use super::mended::Mended;

/// Headers lie in the first table; this many may lie around a value below it. Far more than a person writes, and far less
/// than the stack of any thread bears. What lies deeper is bytes to whoever reads it, and comes out of a copy so.
pub(super) const MAX_DEPTH: usize = 64;

/// A thing of a frame.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// So many bytes of no interest.
    Fixed(usize),
    /// A text of up to 255 bytes, which has to be UTF-8.
    Short,
    Table,
}

/// Of a content header, each if its flag is set, from the highest flag downwards.
const PROPERTIES: [Field; 14] = {
    use Field::{Fixed, Short, Table};
    // Type and encoding of the content, headers, mode, priority, correlation, reply-to, expiration, id, time, type, user,
    // program, cluster.
    [Short, Short, Table, Fixed(1), Fixed(1), Short, Short, Short, Short, Fixed(8), Short, Short, Short, Short]
};

/// Mends a content header.
pub(super) fn header(payload: &mut [u8]) -> Mended {
    mend(payload, |walk| {
        // Class, weight, and size of the body.
        walk.skip(2 + 2 + 8)?;
        let flags = u16::from_be_bytes(walk.array()?);
        for (index, field) in PROPERTIES.into_iter().enumerate() {
            if flags & (1 << 15 >> index) != 0 {
                walk.field(field)?;
            }
        }
        Some(())
    })
}

/// Walks until the end, or until it makes no sense.
pub(super) fn mend(payload: &mut [u8], way: impl FnOnce(&mut Walk<'_>) -> Option<()>) -> Mended {
    let mut walk = Walk { end: payload.len(), payload, at: 0, mended: Mended::default() };
    let _ = way(&mut walk);
    walk.mended
}

/// Whoever walks goes on only while a step gives something.
pub(super) struct Walk<'a> {
    payload: &'a mut [u8],
    at: usize,
    /// Of what the walk is in: the payload, or a table or an array in it.
    end: usize,
    mended: Mended,
}

impl Walk<'_> {
    pub(super) fn field(&mut self, field: Field) -> Option<()> {
        match field {
            Field::Fixed(size) => self.skip(size),
            Field::Short => self.short(),
            Field::Table => self.table(),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.payload[self.at..self.end].first_chunk()?;
        self.at += N;
        Some(bytes)
    }

    fn skip(&mut self, size: usize) -> Option<()> {
        (size <= self.end - self.at).then(|| self.at += size)
    }

    fn short(&mut self) -> Option<()> {
        let [size] = self.array()?;
        let start = self.at;
        self.skip(size.into())?;
        self.mended.texts += u64::from(make_utf8(&mut self.payload[start..self.at]));
        Some(())
    }

    fn long(&mut self) -> Option<()> {
        let size = self.size()?;
        self.skip(size)
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }

    fn table(&mut self) -> Option<()> {
        let around = self.enter()?;
        while self.at < self.end {
            self.short()?;
            if let Some(kind) = self.value()? {
                self.nested(kind)?;
            }
        }
        self.end = around;
        Some(())
    }

    /// A value. Of a table and of an array only the type, which is given.
    fn value(&mut self) -> Option<Option<u8>> {
        let [kind] = self.array()?;
        match kind {
            b'S' | b'x' => self.long()?,
            b't' | b'b' | b'B' => self.skip(1)?,
            b's' | b'U' | b'u' => self.skip(2)?,
            b'I' | b'i' | b'f' => self.skip(4)?,
            b'D' => self.skip(5)?,
            b'L' | b'l' | b'd' | b'T' => self.skip(8)?,
            b'V' => {}
            b'F' | b'A' => return Some(Some(kind)),
            _ => return None,
        }
        Some(None)
    }

    /// A table or an array in the headers. Without recursion: how deep things lie is up to whoever published them.
    #[cold]
    fn nested(&mut self, kind: u8) -> Option<()> {
        let mut around = Around::default();
        let mut in_table = kind == b'F';
        let mut end = self.enter()?;
        loop {
            if self.at == self.end {
                self.end = end;
                match around.pop() {
                    None => return Some(()),
                    Some(outer) => (end, in_table) = outer,
                }
                continue;
            }
            if in_table {
                self.short()?;
            }
            match self.value()? {
                None => {}
                Some(_) if around.is_full() => {
                    // Bytes have their length before them, too.
                    self.payload[self.at - 1] = b'x';
                    self.mended.nested += 1;
                    self.long()?;
                }
                Some(kind) => {
                    around.push((end, in_table));
                    in_table = kind == b'F';
                    end = self.enter()?;
                }
            }
        }
    }

    /// Into a table or an array, whose length comes next. Gives the end of what is around it.
    fn enter(&mut self) -> Option<usize> {
        let size = self.size()?;
        (size <= self.end - self.at).then(|| std::mem::replace(&mut self.end, self.at + size))
    }
}

/// The tables and arrays around the one that the walk is in, but for the headers: where each ends, and whether it is a table.
struct Around {
    depth: usize,
    open: [(usize, bool); MAX_DEPTH - 1],
}

impl Default for Around {
    fn default() -> Self {
        Self { depth: 0, open: [(0, false); MAX_DEPTH - 1] }
    }
}

impl Around {
    fn is_full(&self) -> bool {
        self.depth == self.open.len()
    }

    fn push(&mut self, container: (usize, bool)) {
        self.open[self.depth] = container;
        self.depth += 1;
    }

    fn pop(&mut self) -> Option<(usize, bool)> {
        self.depth = self.depth.checked_sub(1)?;
        Some(self.open[self.depth])
    }
}

/// Puts `?` for every byte that is part of no character. Whether there were any.
fn make_utf8(text: &mut [u8]) -> bool {
    // Most are, and that is seen faster.
    if text.is_ascii() {
        return false;
    }
    let mut start = 0;
    while let Err(error) = std::str::from_utf8(&text[start..]) {
        let bad = start + error.valid_up_to();
        start = error.error_len().map_or(text.len(), |length| bad + length);
        text[bad..start].fill(b'?');
    }
    start > 0
}
