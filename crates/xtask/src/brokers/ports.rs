//! Loopback ports for servers of ours.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::bail;

/// Ports above may belong to outgoing connections of any program.
const BELOW: u16 = 32_768;

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The first ports from `first` on that nobody listens on now.
pub(super) fn free(first: u16, count: usize) -> anyhow::Result<Vec<u16>> {
    let free = (first..BELOW).filter(|port| TcpListener::bind(loopback(*port)).is_ok());
    let ports: Vec<u16> = free.take(count).collect();
    if ports.len() < count {
        bail!("no {count} free ports between {first} and {BELOW}");
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over() {
        // Bound as it is found: another program may look for one, too.
        let taken = (20_000..BELOW).find_map(|port| TcpListener::bind(loopback(port)).ok()).unwrap();
        let first = taken.local_addr().unwrap().port();
        let ports = free(first, 3).unwrap();
        assert!(!ports.contains(&first) && ports.windows(2).all(|pair| pair[0] < pair[1]), "{ports:?}");
        assert!(free(BELOW - 1, 2).is_err());
    }
}
