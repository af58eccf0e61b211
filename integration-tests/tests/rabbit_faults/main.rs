//! One fault at a time, and what a member or a publisher makes of it.

#![expect(clippy::print_stdout, reason = "how long what took is worth reading also when it is well")]

mod alarm;
mod children;
mod gone;
mod innocence;
mod lab;
mod late;
mod network;
mod outages;
mod refused;
mod silence;
mod window;
