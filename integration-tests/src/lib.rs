//! Shared laboratory of the tests against real servers.
//!
//! [`proxy`] breaks the network between a client and its broker; [`redis_server`], [`kafka_server`] and [`rabbit_server`]
//! run private servers that can be killed, frozen and restarted, and [`certificates`] makes what their TLS needs. All of
//! them listen on loopback only. [`amqp`] speaks to RabbitMQ by hand. [`threads`] sees what a client leaves behind,
//! and [`storm`] is what all the storms have in common.

pub mod amqp;
pub mod certificates;
pub mod kafka_server;
pub mod ports;
pub mod proxy;
pub mod rabbit_server;
pub mod redis_server;
pub mod storm;
pub mod threads;
