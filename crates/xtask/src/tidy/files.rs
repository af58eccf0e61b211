//! Reading a folder's Rust files.

use std::fs;
use std::path::Path;

/// Calls `file` for each Rust file in the folder and those below; a folder that does not exist has none.
pub(super) fn visit(folder: &Path, file: &mut impl FnMut(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            visit(&path, file)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            file(&path)?;
        }
    }
    Ok(())
}
