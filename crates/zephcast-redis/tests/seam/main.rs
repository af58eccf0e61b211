//! The driver against the seam, on a real server.

mod admin;
mod bandwidth;
mod browse;
mod closing;
mod consume;
mod cuts;
mod failover;
mod faults;
mod fences;
mod foreign;
mod gone;
mod herd;
mod keeper;
mod log;
mod looks;
mod member;
mod moving;
mod network;
mod news;
mod on_the_way;
mod refused;
mod removal;
mod server;
mod settle;
mod setups;
mod slow;
mod states;
mod surplus;
mod takeover;
mod traffic;
mod trust;

mod prelude {
    //! What every case needs.

    pub(crate) use std::sync::Arc;
    pub(crate) use std::time::{Duration, Instant};

    pub(crate) use zephcast_core::driver::{
        Credit, Disposition, Driver, Failure, Fetched, Held, Incoming, Intake, Membership, Renewal, Returned,
        Settlement, Settler, Subscription, UnitSettlements,
    };
    pub(crate) use zephcast_core::{
        ErrorKind, Event, GroupName, MemberName, MemberState, Message, MessageId, Position, PositionStyle, Start,
        StreamName, Token, UnitId,
    };
    pub(crate) use zephcast_redis::{RedisConfig, RedisDriver};

    pub(crate) use crate::member::{Joined, group, messages, publish};
    pub(crate) use crate::server::{Server, unique_stream};
}
