//! Starting and stopping brokers: one after the other.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::process::getuid;

use super::Broker;
use super::record::folder;
use crate::workspace::Workspace;

/// How often it is looked whether another one is done.
const AGAIN: Duration = Duration::from_millis(200);

/// Waits until nobody else starts or stops this checkout's broker. Nobody does until what this gives is dropped, or its process ends.
pub(super) async fn turn(broker: Broker, workspace: &Workspace) -> anyhow::Result<File> {
    let file = folder(broker, workspace).with_extension("lock");
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    wait_for(broker, &file).await
}

/// Waits until no other checkout of this user looks for ports and starts a broker there: both would find the same ones, and
/// take the server that was first for their own. None does until what this gives is dropped, or its process ends.
pub(super) async fn turn_at_ports(broker: Broker) -> anyhow::Result<File> {
    // Users cannot open each other's.
    let file = format!("zephcast-{}-{}.lock", broker.name(), getuid().as_raw());
    wait_for(broker, &env::temp_dir().join(file)).await
}

async fn wait_for(broker: Broker, file: &Path) -> anyhow::Result<File> {
    let lock = File::create(file).with_context(|| file.display().to_string())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_waits_until_the_other_is_done() {
        let file = env::temp_dir().join(format!("zephcast-turn-{}.lock", std::process::id()));
        let first = wait_for(Broker::Redis, &file).await.unwrap();
        let second = tokio::time::timeout(AGAIN, wait_for(Broker::Redis, &file)).await;
        assert!(second.is_err(), "it is not done");
        drop(first);
        wait_for(Broker::Redis, &file).await.unwrap();
        fs::remove_file(file).unwrap();
    }
}
