//! Publishing to a real broker, at the seam: by the driver, and read back by the plain client.

mod broker;
mod refusals;
mod stored;
