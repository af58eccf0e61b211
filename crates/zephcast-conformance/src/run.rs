//! Running the table: as a test binary with one named test a case, or in process with a report.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, stream};
use libtest_mimic::{Arguments, Failed, Trial};
use zephcast_core::{Capabilities, Error};

use crate::case::{Broken, Case, Checked, Need};
use crate::harness::{Harness, Powers};
use crate::{Lab, cases};

/// Cases wait most of the time, so that many can share two cores.
const AT_A_TIME: usize = 16;

/// A harness and what is expected of it.
#[derive(Clone)]
pub struct Suite {
    harness: Arc<dyn Harness>,
    skips: Vec<&'static str>,
}

impl Suite {
    /// The whole table for this harness; no case may be skipped.
    #[must_use]
    pub fn new(harness: impl Harness) -> Self {
        Self { harness: Arc::new(harness), skips: Vec::new() }
    }

    /// The titles of all cases that this broker or harness cannot do. A case that is skipped and not listed fails, and
    /// so does one that is listed and could run.
    #[must_use]
    pub fn expect_skips(mut self, titles: impl IntoIterator<Item = &'static str>) -> Self {
        self.skips.extend(titles);
        self
    }

    /// Runs every case that the filter admits, several at a time, and says how each ended.
    ///
    /// # Errors
    /// The harness cannot connect.
    ///
    /// # Cancel safety
    /// Dropped, the cases that run are given up, and their streams stay at the broker.
    pub async fn run(&self, filter: impl Fn(&Case) -> bool) -> Result<Report, Error> {
        let capabilities = &self.harness.connect().await?.capabilities().clone();
        let chosen: Vec<Case> = cases().filter(filter).collect();
        let outcomes = stream::iter(chosen)
            .map(|case| async move {
                let started = Instant::now();
                let outcome = self.outcome(case, capabilities).await;
                (case, outcome, started.elapsed())
            })
            .buffered(AT_A_TIME)
            .collect()
            .await;
        Ok(Report { outcomes })
    }

    async fn outcome(&self, case: Case, capabilities: &Capabilities) -> Outcome {
        if let Some(need) = case.missing(capabilities, self.harness.powers()) {
            return Outcome::Skipped(need);
        }
        match self.prove(case).await {
            Ok(()) => Outcome::Held,
            Err(broken) => Outcome::Broken(broken),
        }
    }

    /// Runs one proof on a stream of its own, which is deleted afterwards.
    async fn prove(&self, case: Case) -> Checked {
        let harness = self.harness.own_broker().unwrap_or_else(|| self.harness.clone());
        let lab = Lab::new(harness.clone(), case.promise)?;
        let stream = lab.stream().clone();
        let limit = harness.timing().patience * 6;
        let proof = tokio::time::timeout(limit, AssertUnwindSafe((case.run)(lab)).catch_unwind()).await;
        if let Ok(driver) = harness.connect().await {
            // What is left over hurts nobody: the name is used once.
            let _ = driver.admin().delete_stream(&stream).await;
        }
        match proof {
            Ok(Ok(checked)) => checked,
            // The panic's own message is on the standard error stream.
            Ok(Err(_)) => Err(Broken::new("panicked")),
            Err(_) => Err(Broken::new(format!("did not end within {limit:?}"))),
        }
    }

    /// One test a case, or the error that keeps it from running.
    fn trials(&self, capabilities: &Capabilities, runtime: &tokio::runtime::Handle) -> Vec<Trial> {
        let powers = self.harness.powers();
        let unknown = self.skips.iter().filter(|title| !cases().any(|case| case.title() == **title)).map(|title| {
            let problem = format!("the skip {title:?} is expected, and there is no such case");
            Trial::test(format!("skip {title}"), move || Err(Failed::from(problem)))
        });
        let trials = cases().map(|case| self.trial(case, capabilities, powers, runtime));
        unknown.chain(trials).collect()
    }

    fn trial(
        &self,
        case: Case,
        capabilities: &Capabilities,
        powers: Powers,
        runtime: &tokio::runtime::Handle,
    ) -> Trial {
        let title = case.title();
        let expected = self.skips.contains(&title.as_str());
        match (case.missing(capabilities, powers), expected) {
            (None, false) => {
                let (suite, runtime) = (self.clone(), runtime.clone());
                Trial::test(title, move || runtime.block_on(suite.prove(case)).map_err(Failed::from))
            }
            (Some(need), true) => {
                let problem = format!("cannot run here: needs {need:?}");
                Trial::test(format!("{title} (needs {need:?})"), move || Err(Failed::from(problem)))
                    .with_ignored_flag(true)
            }
            (Some(need), false) => {
                let problem = format!("would be skipped, needs {need:?}; expect that skip, or supply what it needs");
                Trial::test(title, move || Err(Failed::from(problem)))
            }
            (None, true) => {
                let problem = "a skip is expected, and nothing is missing: take it off the list";
                Trial::test(title, move || Err(Failed::from(problem)))
            }
        }
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("skips", &self.skips).finish()
    }
}

/// The `main` of a test binary (`harness = false`): every case is a test of its own name, with the usual arguments of
/// `cargo test`.
///
/// What `make` answers with an error is a failed test named `connect`: a missing server never shows as passed.
pub fn main<F>(make: F) -> ExitCode
where
    F: AsyncFnOnce() -> Result<Suite, Error>,
{
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_A_TIME);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed_to_start(&arguments, error.to_string()),
    };
    let prepared = runtime.block_on(async {
        let suite = make().await?;
        let capabilities = suite.harness.connect().await?.capabilities().clone();
        Ok::<_, Error>((suite, capabilities))
    });
    let (suite, capabilities) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return failed_to_start(&arguments, Broken::from(error).to_string()),
    };
    let trials = suite.trials(&capabilities, runtime.handle());
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(suite);
    // Tasks of abandoned cases must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(5));
    conclusion.exit_code()
}

fn failed_to_start(arguments: &Arguments, problem: String) -> ExitCode {
    let trial = Trial::test("connect", move || Err(Failed::from(problem)));
    // A filter must not turn this into a pass.
    let arguments = Arguments { filter: None, skip: Vec::new(), exact: false, ..arguments.clone() };
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

/// How a case ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The promise held.
    Held,
    /// The broker or the harness lacks what the case needs.
    Skipped(Need),
    /// The promise did not hold.
    Broken(Broken),
}

/// How all cases ended, in the order of the table.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each case with its outcome and how long it took.
    pub outcomes: Vec<(Case, Outcome, Duration)>,
}

impl Report {
    /// The cases whose promise did not hold.
    pub fn broken(&self) -> impl Iterator<Item = (&Case, &Broken)> {
        self.outcomes.iter().filter_map(|(case, outcome, _)| match outcome {
            Outcome::Broken(broken) => Some((case, broken)),
            Outcome::Held | Outcome::Skipped(_) => None,
        })
    }

    /// The cases that were skipped, and why.
    pub fn skipped(&self) -> impl Iterator<Item = (&Case, Need)> {
        self.outcomes.iter().filter_map(|(case, outcome, _)| match outcome {
            Outcome::Skipped(need) => Some((case, *need)),
            Outcome::Held | Outcome::Broken(_) => None,
        })
    }
}

/// One line a case.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (case, outcome, time) in &self.outcomes {
            let (title, seconds) = (case.title(), time.as_secs_f32());
            match outcome {
                Outcome::Held => writeln!(f, "held    {seconds:5.1} s  {title}")?,
                Outcome::Skipped(need) => writeln!(f, "skipped          {title} (needs {need:?})")?,
                Outcome::Broken(broken) => writeln!(f, "BROKEN  {seconds:5.1} s  {title}: {broken}")?,
            }
        }
        Ok(())
    }
}
