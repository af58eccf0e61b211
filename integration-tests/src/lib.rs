//! Shared laboratory of the tests against real servers.
//!
//! [`proxy`] breaks the network between a client and its broker, [`redis_server`] runs a private Redis that can be
//! killed, frozen and restarted. Both listen on loopback only.

pub mod ports;
pub mod proxy;
pub mod redis_server;
