//! The engine: everything about receiving and settling that is equal on every broker.
//!
//! One task a member runs four loops side by side: [`intake`] fetches into the window, [`settling`] coalesces and
//! retries settlements, [`renewal`] keeps the lease, [`revocation`] gives units up in good order. [`member`] starts
//! them and tells the story of leaving. Deliveries reach them only through [`core`].

mod core;
mod flight;
mod intake;
mod isolation;
mod member;
mod outage;
mod queue;
mod renewal;
mod revocation;
mod settling;
mod slots;
mod window;

pub(crate) use self::core::{MemberCore, Request, Settings};
pub(crate) use self::flight::Item;
pub(crate) use self::isolation::Isolation;
pub(crate) use self::member::Member;
pub(crate) use self::queue::{Parcel, Popped};
pub(crate) use self::settling::lease_lost;
