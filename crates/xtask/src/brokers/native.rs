//! A server of this machine, started as an ordinary process that outlives us.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::record::{self, How, Record};
use super::{Broker, POLL, packages};
use crate::workspace::Workspace;

const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Starts a server and records it. One that is not recorded, since this failed or was dropped, is killed.
pub(super) async fn start(broker: Broker, workspace: &Workspace) -> anyhow::Result<Record> {
    let program = packages::ensure(broker.recipe()).await?;
    let port = broker.free_port()?;
    let folder = record::folder(broker, workspace);
    let data = folder.join("data");
    // Every start is a fresh broker: what an earlier run left behind must not reach the tests.
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&data)?;
    let log_file = folder.join("server.log");
    let log = File::create(&log_file)?;
    let server = Command::new(program)
        .args((broker.recipe().arguments)(port, &data))
        .stdin(Stdio::null())
        .stderr(log.try_clone()?)
        .stdout(log)
        // Ctrl-C at the terminal ends our steps, not the broker under them.
        .process_group(0)
        .spawn()
        .with_context(|| format!("{} did not start", broker.recipe().program))?;
    let mut server = Unrecorded(Some(server));
    let up = broker
        .wait_until_it_answers(port, || match server.process().try_wait()? {
            Some(status) => bail!("{} ended with {status}", broker.recipe().program),
            None => Ok(()),
        })
        .await;
    if let Err(error) = up {
        drop(server);
        let log = fs::read_to_string(&log_file).unwrap_or_default();
        let tail: Vec<&str> = log.lines().skip(log.lines().count().saturating_sub(10)).collect();
        return Err(error.context(format!("{} ends:\n{}", log_file.display(), tail.join("\n"))));
    }
    let record = Record { port, how: How::Native { pid: server.process().id() } };
    record.save(broker, workspace)?;
    server.recorded();
    Ok(record)
}

/// A server that nobody else knows of yet: killed when dropped.
struct Unrecorded(Option<Child>);

impl Unrecorded {
    fn process(&mut self) -> &mut Child {
        self.0.as_mut().expect("there is a process until it is recorded, and that takes this")
    }

    /// Whoever reads the record ends it.
    fn recorded(mut self) {
        self.0 = None;
    }
}

impl Drop for Unrecorded {
    fn drop(&mut self) {
        if let Some(server) = &mut self.0 {
            // Both fail only when it has ended.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Ends the server that is known to be ours: in order, by force when it does not listen.
pub(super) async fn stop(broker: Broker, pid: u32, port: u16) -> anyhow::Result<()> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    kill_process(process, Signal::TERM)?;
    // A frozen process acts on it only once it goes on.
    let _ = kill_process(process, Signal::CONT);
    let deadline = Instant::now() + STOP_LIMIT;
    while record::is_server(broker, pid, port) {
        if Instant::now() > deadline {
            kill_process(process, Signal::KILL)?;
            bail!("pid {pid} did not end in {STOP_LIMIT:?} and was killed");
        }
        sleep(POLL).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> (Unrecorded, u32) {
        let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        (Unrecorded(Some(child)), pid)
    }

    fn lives(pid: u32) -> bool {
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::CONT).is_ok()
    }

    #[test]
    fn a_server_is_killed_until_it_is_recorded() {
        let (dropped, pid) = server();
        assert!(lives(pid));
        drop(dropped);
        assert!(!lives(pid));

        let (recorded, pid) = server();
        recorded.recorded();
        assert!(lives(pid));
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    }
}
