//! The embedded broker against the seam, on a paused clock.

mod admin;
mod faults;
mod lab;
mod leases;
mod membership;
mod messages;
mod retention;
mod settling;
mod starts;
mod suspects;
