//! The engine over a scripted broker, on a paused clock, with everything that can go wrong drawn from a seed.
//!
//! `ZEPHCAST_SCHEDULES=N` changes how many schedules run, `ZEPHCAST_SEED=N` runs a single one and tells its story.

mod assigned;
mod broker;
mod checks;
mod decisions;
mod driver;
mod ending;
mod faults;
mod handing_out;
mod handlers;
mod ledger;
mod member;
mod polling;
mod process;
mod reports;
mod runner;
mod schedule;
mod settlements;
mod shared;

use std::env;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::faults::Tally;

const SCHEDULES: u64 = 10_000;

/// Failures after which no further schedule is begun.
const ENOUGH: usize = 10;

#[test]
fn every_schedule_keeps_the_promises() {
    if let Some(seed) = number("ZEPHCAST_SEED") {
        return runner::run(seed, true).map(drop).expect("the schedule keeps the promises");
    }
    let (schedules, began) = (number("ZEPHCAST_SCHEDULES").unwrap_or(SCHEDULES), Instant::now());
    let all = Outcomes::default();
    let threads = thread::available_parallelism().map_or(2, Into::into);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(|| all.work(schedules)))));
    let failures = all.failures.into_inner().expect("no schedule panics here");
    if let Some((seed, _)) = failures.first() {
        let told: Vec<_> = failures.iter().map(|(seed, violation)| format!("seed {seed}: {violation}")).collect();
        panic!(
            "{}\nrun the first again with\n  ZEPHCAST_SEED={seed} cargo test -p zephcast-core --test simulation",
            told.join("\n")
        );
    }
    let tally = all.tally.into_inner().expect("no schedule panics here");
    let counts: Vec<_> = tally.iter().map(|(what, count)| format!("{what} {count}")).collect();
    let line = format!("{schedules} schedules in {:.1?}: {}\n", began.elapsed(), counts.join(", "));
    // Past the harness, which keeps the output of a test that passes to itself.
    std::io::stderr().write_all(line.as_bytes()).expect("stderr is open");
}

/// What came of all schedules, from all threads.
#[derive(Default)]
struct Outcomes {
    next: AtomicU64,
    tally: Mutex<Tally>,
    failures: Mutex<Vec<(u64, String)>>,
}

impl Outcomes {
    /// Runs schedules until none is left or enough failed.
    fn work(&self, schedules: u64) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= schedules || self.failures.lock().expect("no schedule panics here").len() >= ENOUGH {
                return;
            }
            let ended = catch_unwind(AssertUnwindSafe(|| runner::run(seed, false)));
            match ended.unwrap_or_else(|_| Err("panicked".into())) {
                Ok(tally) => {
                    let mut all = self.tally.lock().expect("no schedule panics here");
                    tally.into_iter().for_each(|(what, count)| *all.entry(what).or_default() += count);
                }
                Err(violation) => self.failures.lock().expect("no schedule panics here").push((seed, violation)),
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}
