//! `cargo xtask test`: builds the workspace once, runs everything, and says what ran against what.

mod build;
mod plan;
mod report;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::process::Command;

use self::build::Build;
use self::plan::{Run, Step};
use self::report::{Report, Row, Tally};
use crate::arguments::Only;
use crate::brokers::{Broker, Session, with_brokers};
use crate::process::{self, Echo, Finished};
use crate::workspace::{EVERYTHING, Workspace};

/// A step that takes longer hangs; the run goes on without it.
const TEST_LIMIT: Duration = Duration::from_secs(20 * 60);
const EXAMPLE_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Runs what `only` selects. The last line on stdout is `N passed, N failed`.
pub(crate) async fn run(only: Option<Only>) -> anyhow::Result<ExitCode> {
    let report = match report(only).await {
        Ok(report) => report,
        Err(error) if error.is::<process::Interrupted>() => return Err(error),
        Err(error) => {
            eprintln!("error: {error:#}");
            let mut report = Report::default();
            report.push(Row::broken("preparation", "-", format!("{error:#}")));
            report
        }
    };
    print!("{}", report.render());
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn report(only: Option<Only>) -> anyhow::Result<Report> {
    let workspace = Workspace::read()?;
    let steps = plan::steps(&workspace, only);
    let needed: Vec<Broker> =
        Broker::ALL.iter().copied().filter(|broker| steps.iter().any(|step| step.server == Some(*broker))).collect();
    heading(0, steps.len(), "build the workspace");
    let started = Instant::now();
    let build = build::run(&workspace).await?;
    let mut report = Report::default();
    if !build.complete {
        report.push(Row::broken("build", "-", "see the compiler's messages above".to_owned()).took(started.elapsed()));
    }
    with_brokers(&needed, &workspace, async |session| {
        let mut laboratory = Laboratory { workspace: &workspace, build: &build, session, variables: Vec::new() };
        for broker in &needed {
            // Fault tests start servers of their own, also where the shared one is remote or in a container.
            match broker.equip_tests(&workspace).await {
                Ok(variables) => laboratory.variables.extend(variables),
                Err(error) => {
                    report.push(Row::broken("a server for the fault tests", broker.name(), format!("{error:#}")));
                }
            }
        }
        for (number, step) in steps.iter().enumerate() {
            heading(number + 1, steps.len(), &format!("{} ({})", step.name, step.against()));
            let row = match step.server.map(|broker| session.url(broker)) {
                Some(Err(reason)) => Row::broken(&step.name, step.against(), format!("no server: {reason}")),
                _ => run_step(step, &laboratory).await,
            };
            report.push(row);
        }
        Ok(())
    })
    .await?;
    Ok(report)
}

/// What all steps run with.
struct Laboratory<'a> {
    workspace: &'a Workspace,
    build: &'a Build,
    session: &'a Session,
    /// Tell the fault tests where their servers are.
    variables: Vec<(&'static str, OsString)>,
}

async fn run_step(step: &Step, laboratory: &Laboratory<'_>) -> Row {
    let started = Instant::now();
    let row =
        |tally, notes| Row { step: step.name.clone(), against: step.against(), tally, notes, took: started.elapsed() };
    let mut tally = Tally::default();
    let mut notes = Vec::new();
    for run in &step.runs {
        let (mut command, limit) = match command(run, step, laboratory) {
            Ok(command) => command,
            Err(reason) => {
                tally.failed += 1;
                notes.push(reason);
                continue;
            }
        };
        laboratory.session.tell(&mut command);
        command.envs(laboratory.variables.iter().map(|(name, value)| (name, value)));
        command.envs(laboratory.build.program("zephcast").map(|program| ("ZEPHCAST_TEST_CLI", program)));
        match process::run(command, limit, Echo::Shown).await {
            Ok(finished) => judge(run, &finished, &mut tally, &mut notes),
            Err(error) => {
                tally.failed += 1;
                notes.push(format!("{error:#}"));
            }
        }
    }
    row(tally, notes)
}

fn command(run: &Run, step: &Step, laboratory: &Laboratory<'_>) -> Result<(Command, Duration), String> {
    let Laboratory { workspace, build, session, .. } = laboratory;
    match run {
        Run::Tests { target, folder, .. } => {
            let program = build.tests(target).ok_or_else(|| format!("{} did not build", target.name))?;
            let mut command = Command::new(program);
            // As `cargo test` does it: tests find their files from their package's folder.
            command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder);
            Ok((command, TEST_LIMIT))
        }
        Run::DocTests => Ok((
            workspace.cargo(&["test", "--quiet", "--workspace", "--features", EVERYTHING, "--no-fail-fast", "--doc"]),
            TEST_LIMIT,
        )),
        // The very command of the README: it proves that the default features are enough.
        Run::ExampleByCargo { package, name } => {
            Ok((workspace.cargo(&["run", "--quiet", "--package", package, "--example", name]), EXAMPLE_LIMIT))
        }
        Run::ExampleOnServer { target } => {
            let program = build.program_of(target).ok_or_else(|| format!("{} did not build", target.name))?;
            let broker = step.server.ok_or("no server named")?;
            let mut command = Command::new(program);
            command.arg(session.url(broker)?).current_dir(workspace.root());
            Ok((command, EXAMPLE_LIMIT))
        }
    }
}

/// Adds up what a run did. A process that fails without naming a test is a failure of its own, and so is a test target
/// in which no test ran.
fn judge(run: &Run, finished: &Finished, tally: &mut Tally, notes: &mut Vec<String>) {
    let (seen, names) = match run {
        Run::Tests { .. } | Run::DocTests => report::parse(&finished.stdout),
        Run::ExampleByCargo { .. } | Run::ExampleOnServer { .. } => {
            (Tally { passed: usize::from(finished.success()), ..Tally::default() }, Vec::new())
        }
    };
    notes.extend(names);
    if !finished.success() && seen.failed == 0 {
        tally.failed += 1;
        notes.push(finished.end());
    } else if matches!(run, Run::Tests { must_run: true, .. }) && seen.passed + seen.failed == 0 {
        tally.failed += 1;
        notes.push(format!("ran no test ({} skipped)", seen.skipped));
    }
    tally.add(seen);
}

fn heading(number: usize, of: usize, what: &str) {
    // Steps write to both streams; an own line keeps them apart.
    eprintln!("\n=== [{number}/{of}] {what}");
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::build::TargetId;
    use super::{Finished, Run, Tally, judge};

    fn judged(must_run: bool, status: Option<i32>, stdout: &str) -> (Tally, Vec<String>) {
        let target = TargetId { package: "p".into(), kind: "test".into(), name: "t".into() };
        let run = Run::Tests { target, folder: ".".into(), must_run };
        let status = status.map(|code| ExitStatus::from_raw(code << 8));
        let finished = Finished { status, stdout: stdout.to_owned(), took: Duration::from_secs(7) };
        let (mut tally, mut notes) = (Tally::default(), Vec::new());
        judge(&run, &finished, &mut tally, &mut notes);
        (tally, notes)
    }

    #[test]
    fn only_a_clean_end_with_tests_is_a_pass() {
        let ok = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        let bad =
            "test a::b ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let none = "test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.0s\n";
        assert_eq!(judged(true, Some(0), ok).0, Tally { passed: 2, failed: 0, skipped: 1 });
        assert_eq!(judged(true, Some(101), bad), (Tally { passed: 1, failed: 1, skipped: 0 }, vec!["a::b".to_owned()]));
        assert_eq!(judged(true, Some(101), ok).0.failed, 1, "it died after its tests");
        assert_eq!(judged(true, None, "").1, ["killed after 7 s"]);
        assert_eq!(
            judged(true, Some(0), none),
            (Tally { passed: 0, failed: 1, skipped: 3 }, vec!["ran no test (3 skipped)".to_owned()])
        );
        assert_eq!(judged(false, Some(0), none).0.failed, 0, "a library may be without unit tests");
    }
}
