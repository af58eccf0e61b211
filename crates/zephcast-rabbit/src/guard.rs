//! Between the server and the client library: what other programs wrote and the library cannot read is changed on its way,
//! so that it arrives, and can be settled, like any other message.
//!
//! The library reads tables within tables by recursion, on a thread of its own with a stack of 2 MiB: one that lies some
//! thousand deep ends the process. And it takes a short text that is not UTF-8 for the end of the connection. Both come
//! from whoever may publish, and come again until somebody takes the message away. No length changes here, so that every
//! other byte stays what it is and where it is.

mod fields;
mod greeting;
mod mended;
mod methods;
mod sieve;
mod taken;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::io::{AsyncRead, AsyncWrite};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tracing::Dispatch;

pub(crate) use self::greeting::ServerVersion;
use self::sieve::Sieve;
pub(crate) use self::taken::Taken;
use crate::dial::Wire;

/// From here on, what need not be looked at is read straight to where it belongs. Less is read with what follows it: a
/// small message is to cost no call of its own.
const STRAIGHT: usize = 4096;

/// A connection to the server, in clear to who reads it.
pub(crate) struct Guard {
    wire: Box<dyn Wire>,
    sieve: Sieve,
    taken: Taken,
}

impl Guard {
    /// What the server says of its version is written to `version`, what was changed to `log`, and what goes to the server
    /// is counted in `taken`.
    pub(crate) fn new(wire: Box<dyn Wire>, version: ServerVersion, taken: Taken, log: Dispatch) -> Self {
        Self { wire, sieve: Sieve::new(version, log), taken }
    }
}

impl AsyncRead for Guard {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { wire, sieve, .. } = self.get_mut();
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let taken = sieve.take(buffer);
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            let passing = sieve.passing().min(buffer.len());
            if passing >= STRAIGHT {
                let read = ready!(read(wire, context, &mut buffer[..passing]))?;
                sieve.passed(read);
                return Poll::Ready(Ok(read));
            }
            let read = ready!(read(wire, context, sieve.space()?))?;
            if read == 0 {
                // What is left is a part of a frame, of which nobody can make anything.
                return Poll::Ready(Ok(0));
            }
            sieve.came(read);
        }
    }
}

fn read(wire: &mut Box<dyn Wire>, context: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(to);
    ready!(Pin::new(wire).poll_read(context, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

/// What goes to the server goes as it is.
impl AsyncWrite for Guard {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.wire).poll_write(context, bytes))?;
        self.taken.add(taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.wire).poll_write_vectored(context, slices))?;
        self.taken.add(taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}
