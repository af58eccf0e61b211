//! Threads of this process, by their names.

use std::fs::{self, DirEntry};
use std::io;
use std::time::{Duration, Instant};

/// As much of a thread's name as Linux keeps.
const KEPT: usize = 15;

/// Waits until no thread has this name any more. Nobody is told of that.
///
/// # Panics
/// After `patience`.
pub async fn ended(name: &str, patience: Duration) {
    let until = Instant::now() + patience;
    while exists(name) {
        assert!(Instant::now() < until, "the thread {name:?} still is there after {patience:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a thread has this name.
///
/// # Panics
/// Where a process cannot see its own threads.
#[must_use]
pub fn exists(name: &str) -> bool {
    let name = &name[..name.len().min(KEPT)];
    // One that ends meanwhile has no name.
    let of = |task: io::Result<DirEntry>| fs::read_to_string(task.ok()?.path().join("comm")).ok();
    fs::read_dir("/proc/self/task")
        .expect("the process's own threads")
        .filter_map(of)
        .any(|thread| thread.trim_end() == name)
}
