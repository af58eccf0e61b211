#![doc = include_str!("../README.md")]

mod case;
mod cases;
mod harness;
pub mod history;
mod lab;
mod poll;
mod run;
mod seam;
pub mod tamper;

pub use self::case::{Broken, Case, Checked, Need, Proof};
pub use self::cases::cases;
pub use self::harness::{Harness, Line, Powers, Timing};
pub use self::history::History;
pub use self::lab::{Lab, Process};
pub use self::run::{Outcome, Report, Suite, main};
pub use self::seam::Seam;
