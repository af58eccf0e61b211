//! What is being made, and appears under its name only when it is whole.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder of this process's own, removed when dropped.
pub(super) struct Partial(PathBuf);

impl Partial {
    /// On the same disk as `finished`, so that a rename can finish it.
    pub(super) fn beside(finished: &Path) -> anyhow::Result<Self> {
        let folder = finished.with_file_name(format!("partial-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // What cannot be removed is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}
