//! Loopback ports below the range from which the kernel picks the ports of outgoing connections.
//!
//! A port of that range could be taken by any client while its server is down for a moment, and the restart would fail.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

const RANGE: Range<u16> = 20_000..32_000;
const ATTEMPTS: usize = 200;

/// Loopback addresses to try in turn: random, so that test processes running side by side seldom meet.
pub fn candidates() -> impl Iterator<Item = SocketAddr> {
    std::iter::repeat_with(|| SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE)))).take(ATTEMPTS)
}

/// A loopback port that nobody listens on at this moment.
///
/// # Errors
///
/// When every port that was tried is taken.
pub fn free() -> io::Result<u16> {
    several().map(|[port]| port)
}

/// As [`free`], as many different ones as are asked for.
///
/// # Errors
///
/// As [`free`].
pub fn several<const COUNT: usize>() -> io::Result<[u16; COUNT]> {
    // All are held until the last is found.
    let held: Vec<TcpListener> =
        candidates().filter_map(|address| TcpListener::bind(address).ok()).take(COUNT).collect();
    let ports = held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<io::Result<Vec<_>>>()?;
    ports.try_into().map_err(|_| {
        io::Error::new(io::ErrorKind::AddrInUse, format!("{ATTEMPTS} ports of {RANGE:?}: no {COUNT} are free"))
    })
}
