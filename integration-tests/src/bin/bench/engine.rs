//! What the engine costs a message, exactly: instructions and allocations as `valgrind` counts them, over a broker that
//! costs nothing.
//!
//! The program runs itself under `callgrind` twice, in one thread, with so many messages and with twice as many; the
//! difference is what they cost, without start and end.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::report::{Mark, Report, Row};
use crate::{Outcome, ours, source};

const STREAM: &str = "bench";
const MESSAGES: usize = 20_000;
/// Left in the stream, so that the last window is full like the others.
const SPARE: usize = 5_000;

/// What a run under `callgrind` does.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    case: Case,
    messages: usize,
}

#[derive(Clone, Copy)]
enum Case {
    Publish,
    Consume,
    Group,
}

impl Work {
    pub(crate) fn new(case: &str, messages: usize) -> Outcome<Self> {
        let case = [Case::Publish, Case::Consume, Case::Group].into_iter().find(|known| known.name() == case);
        Ok(Self { case: case.ok_or("unknown work")?, messages })
    }
}

impl Case {
    fn name(self) -> &'static str {
        match self {
            Self::Publish => "engine-publish",
            Self::Consume => "engine-consume",
            Self::Group => "engine-group",
        }
    }
}

/// The part that is counted.
pub(crate) fn run(work: Work) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // As many in every run, so that making them is no part of the difference.
        let client = source::client(2 * MESSAGES + SPARE);
        match work.case {
            Case::Publish => ours::fill(&client.publisher(STREAM).await?, work.messages).await?,
            Case::Consume => drop(ours::consume_all(&client, STREAM, work.messages).await?),
            Case::Group => ours::handle_all(&client, STREAM, work.messages).await?,
        }
        Ok(())
    })
}

pub(crate) fn measure(report: &mut Report) -> Outcome<()> {
    let directory = TempDir::with_prefix("zephcast-bench-")?;
    for case in [Case::Consume, Case::Group, Case::Publish] {
        let counted = [MESSAGES, 2 * MESSAGES].map(|messages| count(directory.path(), case, messages));
        let [Some(once), Some(twice)] = counted else {
            report.note(format!("{}: not measured, valgrind is missing or failed", case.name()));
            report.add(Row { broker: "memory", case: case.name(), ..Row::default() })?;
            continue;
        };
        let each = |once: u64, twice: u64| (twice as f64 - once as f64) / MESSAGES as f64;
        let engine = (each(once.instructions, twice.instructions), each(once.allocations, twice.allocations));
        let mut marks = vec![Mark { text: "< 500 instructions", reached: engine.0 < 500.0 }];
        if !matches!(case, Case::Publish) {
            // What a batch needs is shared by its messages.
            marks.push(Mark { text: "0 allocations beyond those of a flight of 64", reached: engine.1 < 0.1 });
        }
        report.add(Row { broker: "memory", case: case.name(), engine: Some(engine), marks, ..Row::default() })?;
    }
    Ok(())
}

struct Counted {
    instructions: u64,
    allocations: u64,
}

/// Runs this program under `callgrind`; `None` when that is not to be had.
fn count(directory: &Path, case: Case, messages: usize) -> Option<Counted> {
    let profile = directory.join(format!("{}-{messages}", case.name()));
    let ended = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe().ok()?)
        .args(["--engine", case.name(), &messages.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !ended.ok()?.success() {
        return None;
    }
    read(&std::fs::read_to_string(profile).ok()?)
}

/// Reads a profile: its total, and how often the allocator was called.
fn read(profile: &str) -> Option<Counted> {
    const ALLOCATE: [&str; 6] = ["malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign"];
    let total = profile.lines().rev().find_map(|line| line.strip_prefix("totals: "))?;
    let (mut caller, mut called, mut allocations) = ("", "", 0);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            caller = name;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) = line.strip_prefix("calls=")
            && ALLOCATE.contains(&called)
            && !ALLOCATE.contains(&caller)
        {
            allocations += calls.split(' ').next()?.parse::<u64>().ok()?;
        }
    }
    Some(Counted { instructions: total.trim().parse().ok()?, allocations })
}
