//! Tokio for the client library, with streams of ours: the type of its streams belongs to its runtime.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures_util::{AsyncRead, AsyncWrite, Stream};
use tracing::Dispatch;

use crate::dial;
use crate::guard::{Guard, ServerVersion, Taken};

/// The runtime that this is called in.
///
/// # Panics
/// Outside of Tokio.
pub(crate) fn current() -> Runtime<Guarded> {
    Runtime::new(Guarded(Tokio::current()))
}

/// Tokio, whose connections are guarded.
#[derive(Clone, Debug)]
pub(crate) struct Guarded(Tokio);

impl RuntimeKit for Guarded {}

impl Executor for Guarded {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, future: F) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, work: F) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Guarded {
    type TcpStream = Guard;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// Nobody does: the client library has what it needs from the stream.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Guard, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.0.sleep(time)
    }

    fn interval(&self, time: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(time)
    }

    fn tcp_connect_addr(&self, address: SocketAddr) -> impl Future<Output = io::Result<Guard>> + Send + 'static {
        connect(address)
    }
}

async fn connect(address: SocketAddr) -> io::Result<Guard> {
    let wire = Box::new(dial::tcp(&[address]).await?);
    Ok(Guard::new(wire, ServerVersion::default(), Taken::default(), Dispatch::none()))
}
