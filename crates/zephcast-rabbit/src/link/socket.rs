//! The socket below a connection: the client library closes one only when the server listens and no channel is left.

use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, mem};

use socket2::SockRef;

/// The socket below a connection.
#[derive(Clone, Default)]
pub(super) struct Socket(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    #[default]
    Awaited,
    Open(socket2::Socket),
    Closed,
}

/// Closes the socket when it is dropped.
pub(super) struct ClosedOnDrop(Socket);

impl Socket {
    /// # Errors
    /// `ConnectionAborted` when nobody wants it any more.
    pub(super) fn keep(&self, stream: &tokio::net::TcpStream) -> io::Result<()> {
        let handle = SockRef::from(stream).try_clone()?;
        let mut state = self.state();
        if matches!(*state, State::Closed) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        *state = State::Open(handle);
        Ok(())
    }

    /// Closes it now, or as soon as there is one.
    fn close(&self) {
        if let State::Open(socket) = mem::replace(&mut *self.state(), State::Closed) {
            // One that is closed already is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn closes_when_dropped(&self) -> ClosedOnDrop {
        ClosedOnDrop(self.clone())
    }
}

impl ClosedOnDrop {
    /// Closes it at once.
    pub(super) fn close(&self) {
        self.0.close();
    }

    /// Leaves it open.
    pub(super) fn keep(mut self) {
        self.0 = Socket::default();
    }
}

impl Drop for ClosedOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
