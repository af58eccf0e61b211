//! Members of a group that call a handler for each delivery.

mod builder;
mod dispatch;
mod handler;
mod lanes;

pub use self::builder::GroupBuilder;
pub use self::handler::HandlerError;
