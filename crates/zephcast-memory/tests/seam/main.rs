//! The embedded broker against the seam, on a paused clock.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, helpers included")]

mod admin;
mod browse;
mod chaos;
mod confirmations;
mod cooperation;
mod durations;
mod endings;
mod faults;
mod lab;
mod leases;
mod membership;
mod messages;
mod moving;
mod retention;
mod settling;
mod starts;
mod suspects;
