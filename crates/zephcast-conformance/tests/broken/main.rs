//! Drivers that are wrong on purpose, each in one way, and the case that catches each.
#![expect(clippy::print_stdout, reason = "the table of what caught what is what people run this for")]

mod frontier;
mod members;
mod publishing;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use zephcast_conformance::{Suite, tamper::Tamper};

use crate::support::{Break, Embedded};

/// A defect, and the promise that it breaks.
struct Defect {
    name: &'static str,
    promise: &'static str,
    make: Break,
}

const DEFECTS: &[Defect] = &[
    Defect { name: "acks early, when it fetches", promise: "D3", make: || one_member(members::AcksEarly) },
    Defect { name: "commits the highest instead of the frontier", promise: "D3", make: frontier::highest },
    Defect { name: "forgets one redelivery", promise: "F2", make: || one_member(members::ForgetsRedelivery) },
    Defect { name: "delivers to two members", promise: "D2", make: || Arc::new(members::DeliversTwice::default()) },
    Defect { name: "lets a late ack through", promise: "D6", make: || Arc::new(members::LateAcks::default()) },
    Defect { name: "loses order", promise: "D8", make: || one_member(members::LosesOrder) },
    Defect { name: "swallows a publish error", promise: "D1", make: || Arc::new(publishing::SwallowsErrors) },
    Defect {
        name: "publishes a message twice on its own",
        promise: "D1",
        make: || Arc::new(publishing::PublishesTwice),
    },
    Defect {
        name: "settles when a consumer is dropped or closed",
        promise: "S3",
        make: || one_member(members::SettlesOnLeave),
    },
    Defect { name: "ignores the drain", promise: "M1", make: || one_member(members::IgnoresDrain) },
    Defect {
        name: "hands out more than it has credit for",
        promise: "S1",
        make: || one_member(members::IgnoresCredit),
    },
    Defect { name: "never renews a lease", promise: "M3", make: || one_member(members::NeverRenews) },
    Defect {
        name: "settles a dead letter without storing it",
        promise: "F3",
        make: || one_member(members::DropsDeadLetters),
    },
    Defect {
        name: "counts every delivery as the first attempt",
        promise: "F1",
        make: || one_member(members::CountsNothing),
    },
    Defect { name: "drops headers", promise: "D7", make: || Arc::new(publishing::DropsHeaders) },
];

fn one_member<M: zephcast_conformance::tamper::TamperMember + Copy>(member: M) -> Arc<dyn Tamper> {
    Arc::new(members::Each(member))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(8);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let caught: Arc<Mutex<Vec<(&str, String)>>> = Arc::default();
    let mut trials: Vec<Trial> = DEFECTS
        .iter()
        .map(|defect| {
            let (runtime, caught) = (runtime.handle().clone(), caught.clone());
            Trial::test(format!("{} is caught by {}", defect.name, defect.promise), move || {
                let titles = runtime.block_on(catch(defect)).map_err(Failed::from)?;
                caught.lock().unwrap_or_else(PoisonError::into_inner).push((defect.name, titles));
                Ok(())
            })
        })
        .collect();
    let handle = runtime.handle().clone();
    trials.push(Trial::test("a driver that commits the frontier only, done right, keeps every promise", move || {
        let suite = Suite::new(Embedded::with(frontier::right)).expect_skips(support::SKIPS);
        let report = handle.block_on(suite.run(|_| true)).map_err(Failed::from)?;
        match report.broken().count() {
            0 => Ok(()),
            _ => Err(Failed::from(report.to_string())),
        }
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let mut caught = std::mem::take(&mut *caught.lock().unwrap_or_else(PoisonError::into_inner));
    caught.sort_unstable();
    for (name, titles) in caught {
        println!("{name:<45} caught by  {titles}");
    }
    conclusion.exit_code()
}

/// The titles of the cases that caught it.
async fn catch(defect: &Defect) -> Result<String, String> {
    let suite = Suite::new(Embedded::broken(defect.make));
    let report = suite.run(|case| case.promise == defect.promise).await.map_err(|error| error.to_string())?;
    let titles: Vec<_> = report.broken().map(|(case, _)| case.title()).collect();
    if titles.is_empty() { Err(format!("nothing caught it:\n{report}")) } else { Ok(titles.join("; ")) }
}
