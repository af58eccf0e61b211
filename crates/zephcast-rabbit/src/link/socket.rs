//! The socket below a connection: the client library closes one only when the server listens and no channel is left.

use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, PoisonError};

use socket2::SockRef;

/// The socket below a connection.
#[derive(Clone, Default)]
pub(super) struct Socket(Arc<Mutex<Option<socket2::Socket>>>);

/// Closes the socket when it is dropped.
pub(super) struct ClosedOnDrop(Socket);

impl Socket {
    pub(super) fn keep(&self, stream: &tokio::net::TcpStream) -> io::Result<()> {
        let handle = SockRef::from(stream).try_clone()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        Ok(())
    }

    pub(super) fn closes_when_dropped(&self) -> ClosedOnDrop {
        ClosedOnDrop(self.clone())
    }
}

impl ClosedOnDrop {
    /// Leaves it open.
    pub(super) fn keep(mut self) {
        self.0 = Socket::default();
    }
}

impl Drop for ClosedOnDrop {
    fn drop(&mut self) {
        if let Some(socket) = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // One that is closed already is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
