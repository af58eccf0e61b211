//! Commands that run for deliveries. Each has a process group of its own, so that Ctrl-C reaches zephcast and not what
//! zephcast still waits for; whoever ends at once ends them too.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// The process groups that run now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children(Arc<Mutex<BTreeSet<i32>>>);

/// One of them: killed when this is dropped before it ended.
#[derive(Debug)]
pub(crate) struct Running {
    children: Children,
    group: i32,
}

impl Children {
    /// Takes note of a command whose process leads its group.
    pub(crate) fn started(&self, process: u32) -> Option<Running> {
        let group = i32::try_from(process).ok()?;
        self.groups().insert(group);
        Some(Running { children: self.clone(), group })
    }

    /// Ends every command at once.
    pub(crate) fn kill_all(&self) {
        for group in self.groups().iter() {
            kill(*group);
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// It ended by itself; its number may be somebody else's from now on.
    pub(crate) fn ended(self) {
        self.children.groups().remove(&self.group);
        // Nothing is left to be killed.
        std::mem::forget(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.children.groups().remove(&self.group);
        kill(self.group);
    }
}

fn kill(group: i32) {
    if let Some(group) = Pid::from_raw(group) {
        // One that ended in this moment needs no killing.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
