//! The frames in the stream of bytes: those that may carry what others wrote are held back until they are whole and looked at.

use std::io;

use tracing::Dispatch;

use super::mended::Told;
use super::{ServerVersion, fields, greeting, methods};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// Type, channel, size.
const HEAD: usize = 1 + 2 + 4;
const END: u8 = 0xCE;

/// Read at once. Much of it would be copied in vain where bodies are large.
const ROOM: usize = 32 * 1024;
/// Of a frame that is looked at. Servers allow 128 KiB unless told otherwise; what is larger cannot be held back for long.
const LARGEST: usize = 16 * 1024 * 1024;

/// What came from the server. Its bytes are in the order of the fields: taken, free to take, held back, room for more.
pub(super) struct Sieve {
    bytes: Vec<u8>,
    taken: usize,
    free: usize,
    filled: usize,
    /// So many of the bytes still to come are of a frame that nobody looks at.
    passing: usize,
    told: Told,
    version: ServerVersion,
}

impl Sieve {
    pub(super) fn new(version: ServerVersion, log: Dispatch) -> Self {
        Self { bytes: vec![0; ROOM], taken: 0, free: 0, filled: 0, passing: 0, told: Told::new(log), version }
    }

    /// Gives as much as is free to take, and finds room.
    pub(super) fn take(&mut self, to: &mut [u8]) -> usize {
        let free = &self.bytes[self.taken..self.free];
        let count = free.len().min(to.len());
        to[..count].copy_from_slice(&free[..count]);
        self.taken += count;
        count
    }

    /// How many bytes, beginning with the next to come, may be read by whoever wants them without coming here, once nothing
    /// is left to take.
    pub(super) fn passing(&self) -> usize {
        self.passing
    }

    /// Such bytes were read.
    pub(super) fn passed(&mut self, count: usize) {
        self.passing -= count;
    }

    /// Where to read to, once nothing is left to take.
    ///
    /// # Errors
    /// A frame is too large to be held back.
    pub(super) fn space(&mut self) -> io::Result<&mut [u8]> {
        // A part of a frame moves once: then it lies at the beginning until it is whole.
        self.bytes.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        (self.taken, self.free) = (0, 0);
        if self.filled == self.bytes.len() {
            if self.filled >= LARGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too large to be read"));
            }
            self.bytes.resize(self.filled * 2, 0);
        }
        Ok(&mut self.bytes[self.filled..])
    }

    /// So many bytes were read to the space.
    pub(super) fn came(&mut self, count: usize) {
        self.filled += count;
        loop {
            let passing = self.passing.min(self.filled - self.free);
            self.free += passing;
            self.passing -= passing;
            let held = &mut self.bytes[self.free..self.filled];
            let Some(&[kind, _, _, a, b, c, d]) = held.first_chunk::<HEAD>() else { return };
            let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let whole = size.saturating_add(HEAD + 1);
            match kind {
                METHOD | HEADER => {
                    let Some((&mut END, frame)) = held.get_mut(..whole).and_then(|frame| frame.split_last_mut()) else {
                        if held.len() < whole {
                            return;
                        }
                        self.passing = usize::MAX;
                        continue;
                    };
                    let payload = &mut frame[HEAD..];
                    self.told.add(match kind {
                        HEADER => fields::header(payload),
                        _ => {
                            if let Some(version) = greeting::version(payload) {
                                // Said once by a connection.
                                let _ = self.version.set(version);
                            }
                            methods::method(payload)
                        }
                    });
                    self.free += whole;
                }
                BODY | HEARTBEAT => self.passing = whole,
                // The library ends a connection on which there is no frame where one should be.
                _ => self.passing = usize::MAX,
            }
        }
    }
}
