//! The client library writes to the log what is nobody's to read there: whole messages that no queue took, as a warning; at
//! its lowest level every message, and the password. What it has to say is told by our errors and events.

use tracing::Dispatch;
use tracing::dispatcher::{get_default, set_default, with_default};

/// Nothing on this thread is written to the log from now on, but by who asks for this log.
pub(crate) fn this_thread() -> Dispatch {
    let log = get_default(Clone::clone);
    // Until the thread ends.
    std::mem::forget(set_default(&Dispatch::none()));
    log
}

/// Nothing of this is written to the log.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    with_default(&Dispatch::none(), work)
}
