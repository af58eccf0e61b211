//! Starting and stopping a broker of this checkout: one after the other.

use std::fs::{self, File, TryLockError};
use std::time::Duration;

use super::Broker;
use super::record::folder;
use crate::workspace::Workspace;

/// How often it is looked whether another one is done.
const AGAIN: Duration = Duration::from_millis(200);

/// Waits until nobody else starts or stops it. Nobody does until what this gives is dropped, or its process ends.
pub(super) async fn turn(broker: Broker, workspace: &Workspace) -> anyhow::Result<File> {
    let file = folder(broker, workspace).with_extension("lock");
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    let lock = File::create(file)?;
    let mut waits = false;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) => {}
        }
        if !waits {
            eprintln!("{}: another `cargo xtask` starts or stops it; waiting", broker.name());
            waits = true;
        }
        tokio::time::sleep(AGAIN).await;
    }
}
