//! A TCP proxy in this process, whose network can be made bad while connections are open.
//!
//! ```text
//! client  --FromClient-->  Proxy  --FromClient-->  server
//!         <--FromServer--         <--FromServer--
//! ```
//!
//! Every switch works on the connections that are open now and on those to come. [`Proxy::heal`] turns all of them off.

mod pump;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::ports;

/// The way that bytes take through the proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// What the client sends to the server.
    FromClient,
    /// What the server sends to the client.
    FromServer,
}

impl Direction {
    /// Both ways.
    pub const BOTH: &[Self] = &[Self::FromClient, Self::FromServer];
}

/// What the proxy has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// When each connection was accepted, in order.
    pub accepted: Vec<Instant>,
    /// Connections that are open through the proxy now.
    pub open: usize,
    /// Bytes of clients that were handed to the server.
    pub from_client: u64,
    /// Bytes of the server that were handed to clients.
    pub from_server: u64,
    /// Bytes that went into a black hole.
    pub swallowed: u64,
    /// Connections ended by a reset: asked for, cut, or broken by a peer.
    pub reset: u64,
}

/// A proxy in front of one server, on a loopback port of its own.
///
/// Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    upstream: Arc<Mutex<SocketAddr>>,
    wiring: Arc<Wiring>,
    /// Filled by the accepting task, emptied when the proxy is dropped.
    connections: Arc<Mutex<JoinSet<()>>>,
    /// Owns the listener; `None` while the proxy is down.
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `upstream`.
    ///
    /// # Errors
    ///
    /// When no port can be bound. A server that does not answer shows at the client, as a reset.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        for address in ports::candidates() {
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    let proxy = Self {
                        address,
                        upstream: Arc::new(Mutex::new(upstream)),
                        wiring: Arc::default(),
                        connections: Arc::default(),
                        accepting: Mutex::default(),
                    };
                    proxy.accept_from(listener);
                    return Ok(proxy);
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port for the proxy"))
    }

    /// Where clients connect. It stays the same over [`down`](Self::down) and [`up`](Self::up).
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Forwards new connections to another server; open ones stay where they lead.
    pub fn lead_to(&self, upstream: SocketAddr) {
        *locked(&self.upstream) = upstream;
    }

    /// Delays every byte by `latency`, in each direction.
    pub fn set_latency(&self, latency: Duration) {
        self.change(|toxics| toxics.latency = latency);
    }

    /// Lets at most `bytes_per_second` pass in each direction of each connection; `None` lifts the limit.
    pub fn set_bandwidth(&self, bytes_per_second: Option<u32>) {
        self.change(|toxics| toxics.bandwidth = bytes_per_second.map(|rate| rate.max(1)));
    }

    /// Swallows what is sent in `directions`, without a reset or an end of stream; `&[]` lifts it.
    ///
    /// A connection that lost bytes cannot be healed: it is reset when its black hole is lifted.
    pub fn set_black_hole(&self, directions: &[Direction]) {
        self.change(|toxics| toxics.black_hole = flags(directions));
    }

    /// Holds back what is sent in `directions`; `&[]` delivers it late and complete, as a network does that healed.
    pub fn set_hold(&self, directions: &[Direction]) {
        self.change(|toxics| toxics.hold = flags(directions));
    }

    /// Lets exactly `bytes` more pass in `direction`, over all connections together, then ends the connection that sent
    /// the last of them: a reset for its client, an orderly end for its server, which so gets all that passed.
    ///
    /// It happens once; 0 cuts before the next byte.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        locked(&self.wiring.budgets)[direction as usize] = Some(bytes);
    }

    /// Turns every switch off that changes how bytes flow, a pending cut too.
    pub fn heal(&self) {
        *locked(&self.wiring.budgets) = [None, None];
        self.change(|toxics| *toxics = Toxics::default());
    }

    /// Resets all open connections, on both sides.
    pub fn reset(&self) {
        self.wiring.resets.send_modify(|count| *count += 1);
    }

    /// Refuses new connections from now on; open ones go on.
    pub async fn down(&self) {
        let accepting = locked(&self.accepting).take();
        if let Some(task) = accepting {
            task.abort();
            // The port is closed once the task, which owns the listener, is gone; its end is an abort by design.
            let _ = task.await;
        }
    }

    /// Accepts connections again, on the same port.
    ///
    /// # Errors
    ///
    /// When somebody else took the port meanwhile.
    pub async fn up(&self) -> io::Result<()> {
        if locked(&self.accepting).is_none() {
            self.accept_from(TcpListener::bind(self.address).await?);
        }
        Ok(())
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.wiring.counters.borrow().clone()
    }

    /// Waits until what the proxy has seen satisfies `condition`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only looks.
    pub async fn until(&self, condition: impl FnMut(&Counters) -> bool) -> Counters {
        let mut counters = self.wiring.counters.subscribe();
        let seen = counters.wait_for(condition).await.expect("the sender lives as long as this proxy");
        seen.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Toxics)) {
        self.wiring.toxics.send_modify(change);
    }

    fn accept_from(&self, listener: TcpListener) {
        let (upstream, wiring, connections) = (self.upstream.clone(), self.wiring.clone(), self.connections.clone());
        let task = tokio::spawn(async move {
            loop {
                // An error here is the client's: it went away between its handshake and our accept.
                let Ok((client, _)) = listener.accept().await else { continue };
                // Subscribed here, so that a reset right after the handshake is not missed.
                let resets = wiring.resets.subscribe();
                wiring.counters.send_modify(|counters| {
                    counters.accepted.push(Instant::now());
                    counters.open += 1;
                });
                let upstream = *locked(&upstream);
                let connection = serve(client, upstream, wiring.clone(), resets);
                let mut connections = locked(&connections);
                connections.spawn(connection);
                while connections.try_join_next().is_some() {}
            }
        });
        *locked(&self.accepting) = Some(task);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = locked(&self.accepting).take() {
            task.abort();
        }
        locked(&self.connections).abort_all();
    }
}

async fn serve(client: TcpStream, upstream: SocketAddr, wiring: Arc<Wiring>, resets: watch::Receiver<u64>) {
    let broken = pump::run(client, upstream, &wiring, resets).await;
    wiring.counters.send_modify(|counters| {
        counters.open -= 1;
        counters.reset += u64::from(broken);
    });
}

/// What a proxy shares with its connections.
#[derive(Debug, Default)]
struct Wiring {
    toxics: watch::Sender<Toxics>,
    counters: watch::Sender<Counters>,
    /// Counts the calls of [`Proxy::reset`]; each wakes every open connection.
    resets: watch::Sender<u64>,
    /// Bytes left before the cut, by direction.
    budgets: Mutex<[Option<u64>; 2]>,
}

impl Wiring {
    /// Takes up to `wanted` bytes from what may still pass, and says whether the connection is cut after them.
    fn spend(&self, direction: Direction, wanted: usize) -> (usize, bool) {
        let budget = &mut locked(&self.budgets)[direction as usize];
        let Some(left) = *budget else { return (wanted, false) };
        let granted = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
        let left = left - granted as u64;
        *budget = (left > 0).then_some(left);
        (granted, left == 0)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Toxics {
    latency: Duration,
    bandwidth: Option<u32>,
    black_hole: [bool; 2],
    hold: [bool; 2],
}

fn flags(directions: &[Direction]) -> [bool; 2] {
    [Direction::FromClient, Direction::FromServer].map(|direction| directions.contains(&direction))
}

/// The state behind these locks stays whole when a test panics elsewhere.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
