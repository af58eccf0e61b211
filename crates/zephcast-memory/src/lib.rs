#![doc = include_str!("../README.md")]

mod admin;
mod broker;
mod browse;
mod client;
mod clock;
mod config;
mod driver;
mod error;
mod faults;
mod group;
mod intake;
mod lock;
mod log;
mod member;
mod settler;
mod sink;
mod stream;
mod url;

pub use self::broker::MemoryBroker;
pub use self::config::MemoryConfig;
pub use self::driver::MemoryDriver;
pub use self::faults::{Fault, Faults, Operation};
