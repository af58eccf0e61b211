//! Drivers that are wrong on purpose, each in one way, and the cases that catch each.
//!
//! Whether something is missing shows only by waiting for it, so these suites wait less than others. That the wait is long
//! enough on this machine is what the intact broker shows, which keeps every promise with as much patience.
#![expect(clippy::print_stdout, reason = "the table of what caught what is what people run this for")]

mod connections;
mod frontier;
mod members;
mod moving;
mod publishing;
mod settled;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use zephcast_conformance::{Suite, tamper::Tamper};

use crate::support::{Break, Embedded};

/// A defect, and the cases that it must break: each of them, and others of the same promise at will.
struct Defect {
    name: &'static str,
    caught_by: &'static [&'static str],
    make: Break,
}

const DEFECTS: &[Defect] = &[
    Defect {
        name: "acks early, when it fetches",
        caught_by: &["D3 what was not settled comes again, and nothing else"],
        make: || one_member(members::AcksEarly),
    },
    Defect {
        name: "commits the highest instead of the frontier",
        caught_by: &["D3 a message below later acks is not skipped"],
        make: frontier::highest,
    },
    Defect {
        name: "forgets one redelivery",
        caught_by: &["F2 a delayed redelivery survives the end of the process that asked for it"],
        make: || Arc::new(members::ForgetsRedelivery::default()),
    },
    Defect {
        name: "delivers to two members",
        caught_by: &["D2 each message reaches one member of every group"],
        make: || Arc::new(members::DeliversTwice::default()),
    },
    Defect {
        name: "redelivers after a confirmed ack",
        caught_by: &["D5 what was confirmed stays settled under load, while members come and go"],
        make: || Arc::new(settled::Redelivers),
    },
    Defect {
        name: "lets a late ack through",
        caught_by: &["D6 a settlement by a member whose lease ended unnoticed is refused"],
        make: || Arc::new(members::LateAcks::default()),
    },
    Defect {
        name: "loses order",
        caught_by: &["D8 pipelined publishes of a key are delivered in order"],
        make: || one_member(members::LosesOrder),
    },
    Defect {
        name: "swallows a publish error",
        caught_by: &["D1 while the broker is away there is no receipt"],
        make: || Arc::new(publishing::SwallowsErrors),
    },
    Defect {
        name: "publishes a message twice on its own",
        caught_by: &["D1 what has a receipt is there"],
        make: || Arc::new(publishing::PublishesTwice),
    },
    Defect {
        name: "settles when a consumer is dropped or closed",
        caught_by: &["S3 close gives back what was not started, at once and complete"],
        make: || one_member(members::SettlesOnLeave),
    },
    Defect {
        name: "ignores the drain",
        caught_by: &["M1 a unit is given up only after its running handlers"],
        make: || one_member(members::IgnoresDrain),
    },
    Defect {
        name: "hands out more than it has credit for",
        caught_by: &["S1 in flight is bounded by count, whatever the backlog"],
        make: || one_member(members::IgnoresCredit),
    },
    Defect {
        name: "never renews a lease",
        caught_by: &["M3 a slow handler keeps its lease for as long as it runs"],
        make: || one_member(members::NeverRenews),
    },
    Defect {
        name: "settles a dead letter without storing it",
        caught_by: &["F3 a rejected message is a dead letter at once"],
        make: || one_member(members::DropsDeadLetters),
    },
    Defect {
        name: "counts every delivery as the first attempt",
        caught_by: &["F1 a failed message comes again with its attempts counted"],
        make: || one_member(members::CountsNothing),
    },
    Defect {
        name: "drops headers",
        caught_by: &["D7 payload, key, headers and id arrive byte for byte"],
        make: || Arc::new(publishing::DropsHeaders),
    },
    Defect {
        name: "reads for all members of a client over one connection",
        caught_by: &["D9 a slow consumer holds up no other one of its client"],
        make: || Arc::new(connections::Shared::default()),
    },
    Defect {
        name: "says that it moved a group with a living member",
        caught_by: &["D10 a group with a living member is neither moved nor deleted"],
        make: || Arc::new(moving::HidesRefusals),
    },
    Defect {
        name: "makes a group that it is to move",
        caught_by: &["D10 a group that does not exist is neither moved nor deleted nor created"],
        make: || Arc::new(moving::MovesNobody),
    },
    Defect {
        name: "moves every group to the earliest message",
        caught_by: &[
            "D10 a group that is moved to the latest message skips what was there",
            "D10 a group that is moved to a position goes on there",
            "D10 a group that is moved to a time goes on there",
            "D10 what a group had been given is skipped by a move to the latest message",
            "D10 a group that is moved keeps what waits and what is dead",
        ],
        make: || Arc::new(moving::ForgetsWhereTo),
    },
    Defect {
        name: "moves a group that it is to delete",
        caught_by: &["D10 a deleted group is gone, and one of its name begins anew"],
        make: || Arc::new(moving::MovesInstead),
    },
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
            Trial::test(format!("{} is caught by {}", defect.name, promise(defect)), move || {
                let titles = runtime.block_on(catch(defect)).map_err(Failed::from)?;
                caught.lock().unwrap_or_else(PoisonError::into_inner).push((defect.name, titles));
                Ok(())
            })
        })
        .collect();
    for (name, harness) in [
        ("the intact broker keeps every promise with as much patience", Embedded::hurried as fn() -> Embedded),
        ("a driver that commits the frontier only, done right, keeps every promise", || {
            Embedded::with(frontier::right)
        }),
    ] {
        let runtime = runtime.handle().clone();
        trials.push(Trial::test(name, move || runtime.block_on(holds(harness())).map_err(Failed::from)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let mut caught = std::mem::take(&mut *caught.lock().unwrap_or_else(PoisonError::into_inner));
    caught.sort_unstable();
    for (name, titles) in caught {
        println!("{name:<55} caught by  {titles}");
    }
    conclusion.exit_code()
}

/// The promise that the defect breaks.
fn promise(defect: &Defect) -> &'static str {
    let title = defect.caught_by.first().copied().unwrap_or_default();
    title.split(' ').next().unwrap_or_default()
}

/// The titles of the cases that caught it, if all that must do so did.
async fn catch(defect: &Defect) -> Result<String, String> {
    let suite = Suite::new(Embedded::broken(defect.make));
    let report = suite.run(|case| case.promise == promise(defect)).await.map_err(|error| error.to_string())?;
    let titles: Vec<_> = report.broken().map(|(case, _)| case.title()).collect();
    match defect.caught_by.iter().find(|title| !titles.iter().any(|broken| broken == *title)) {
        Some(blind) => Err(format!("{blind:?} did not catch it:\n{report}")),
        None => Ok(titles.join("; ")),
    }
}

/// No promise is broken.
async fn holds(harness: Embedded) -> Result<(), String> {
    let suite = Suite::new(harness).expect_skips(support::SKIPS);
    let report = suite.run(|_| true).await.map_err(|error| error.to_string())?;
    if report.broken().next().is_none() { Ok(()) } else { Err(report.to_string()) }
}
