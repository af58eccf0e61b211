//! Rounds, clocks and medians.

use std::pin::Pin;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::Outcome;

/// What one side of a case did in one round, or in the median of all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    /// On-CPU time of this process by message, in microseconds.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// The most memory that was resident meanwhile; what earlier work left to the allocator counts too.
    pub(crate) peak_mib: f64,
}

/// Runs from its start to its stop.
pub(crate) struct Stopwatch {
    began: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        // Makes the present size the new peak. Where the kernel refuses, the peak is that of the whole run.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { cpu: cpu_time(), began: Instant::now() }
    }

    pub(crate) fn stop(&self, messages: usize) -> Sample {
        let (elapsed, cpu) = (self.began.elapsed(), cpu_time().saturating_sub(self.cpu));
        Sample {
            per_second: messages as f64 / elapsed.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / messages as f64,
            peak_mib: peak_mib(),
            ..Sample::default()
        }
    }
}

/// The CPU time of all threads, also of those that ended.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

type Running = Pin<Box<dyn Future<Output = Outcome<Sample>>>>;

/// One side of a case; called once a round.
pub(crate) struct Side(Box<dyn Fn() -> Running>);

impl Side {
    pub(crate) fn new<F>(run: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = Outcome<Sample>> + 'static,
    {
        Self(Box::new(move || Box::pin(run())))
    }
}

/// Runs the sides in turns; another one begins in each round. Returns the median of each.
pub(crate) async fn in_turns<const N: usize>(rounds: usize, sides: [Side; N]) -> Outcome<[Sample; N]> {
    let mut samples = [(); N].map(|()| Vec::with_capacity(rounds));
    for round in 0..rounds {
        for turn in 0..N {
            let side = (round + turn) % N;
            samples[side].push((sides[side].0)().await?);
        }
    }
    Ok(samples.map(|samples| median(&samples)))
}

/// The median of each figure by itself.
fn median(samples: &[Sample]) -> Sample {
    let of = |figure: fn(&Sample) -> Option<f64>| {
        let mut figures: Vec<f64> = samples.iter().filter_map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    };
    Sample {
        per_second: of(|sample| Some(sample.per_second)).unwrap_or(f64::NAN),
        cpu_us: of(|sample| Some(sample.cpu_us)).unwrap_or(f64::NAN),
        p50_us: of(|sample| sample.p50_us),
        p99_us: of(|sample| sample.p99_us),
        peak_mib: of(|sample| Some(sample.peak_mib)).unwrap_or(f64::NAN),
    }
}
