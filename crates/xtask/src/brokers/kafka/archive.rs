//! An archive of the classes that every start loads: later starts take a third less time, and tests start many.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::timeout;

use super::{RECIPE, commands};
use crate::brokers::native::Site;
use crate::brokers::partial::Partial;
use crate::brokers::{Broker, ports};

/// Java writes the archive when it ends.
const END_LIMIT: Duration = Duration::from_secs(120);

/// Where the archive for these jars is, or is to be.
pub(super) fn file(jars: &Path) -> PathBuf {
    jars.join("classes.jsa")
}

/// Runs a server once and has its classes archived. Without an archive everything works, only slower.
pub(super) async fn ensure(jars: &Path) -> anyhow::Result<()> {
    let archive = file(jars);
    if archive.is_file() {
        return Ok(());
    }
    eprintln!("kafka: archiving its classes, so that later starts are quick");
    let partial = Partial::beside(jars)?;
    let fresh = partial.path().join("classes.jsa");
    let data = partial.path().join("data");
    fs::create_dir(&data)?;
    let nodes = vec![ports::free(RECIPE.first_port, RECIPE.ports)?];
    let client = nodes[0][0];
    let site = Site { installed: jars.to_owned(), data, nodes };
    for server in commands(&site).await? {
        run(server, client, &fresh).await?;
    }
    fs::rename(&fresh, &archive).context("the archive")
}

async fn run(mut server: StdCommand, port: u16, archive: &Path) -> anyhow::Result<()> {
    server.env("JDK_JAVA_OPTIONS", format!("-XX:ArchiveClassesAtExit={}", archive.display()));
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Command::from(server).kill_on_drop(true).spawn()?;
    let pid = server.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).context("a process id")?;
    let alive = || match server.try_wait()? {
        Some(status) => bail!("it ended with {status}"),
        None => Ok(()),
    };
    Broker::Kafka.wait_until_it_answers(&[port], alive).await?;
    kill_process(pid, Signal::TERM)?;
    timeout(END_LIMIT, server.wait()).await.context("it does not end")??;
    Ok(())
}
