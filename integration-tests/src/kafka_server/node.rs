//! One process of a private Kafka.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::{KafkaOptions, Listener, POLL};
use crate::ports;

const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Of the log, when it does not start.
const SHOWN_LINES: usize = 8;

#[derive(Debug)]
pub(super) struct Node {
    folder: PathBuf,
    listeners: Vec<(Listener, u16)>,
    pub(super) controller_port: u16,
    /// `None` between an end and the restart.
    process: Option<Child>,
}

impl Node {
    /// As many as are asked for, each with a folder and ports of its own.
    pub(super) fn all(options: &KafkaOptions, directory: &Path) -> io::Result<Vec<Self>> {
        let mut taken = Vec::new();
        let mut port = || {
            loop {
                let port = ports::free()?;
                if !taken.contains(&port) {
                    taken.push(port);
                    return io::Result::Ok(port);
                }
            }
        };
        let mut nodes = Vec::new();
        for number in 0..options.nodes {
            let folder = directory.join(format!("node-{number}"));
            fs::create_dir(&folder)?;
            let listeners = options.listeners.iter().map(|listener| Ok((*listener, port()?)));
            let listeners = listeners.collect::<io::Result<_>>()?;
            nodes.push(Self { folder, listeners, controller_port: port()?, process: None });
        }
        Ok(nodes)
    }

    pub(super) fn listeners(&self) -> impl Iterator<Item = (Listener, SocketAddr)> {
        self.listeners.iter().map(|(listener, port)| (*listener, SocketAddr::from((Ipv4Addr::LOCALHOST, *port))))
    }

    pub(super) fn addr(&self, listener: Listener) -> SocketAddr {
        let found = self.listeners().find(|(known, _)| *known == listener);
        found.unwrap_or_else(|| panic!("this Kafka was started without {listener:?}")).1
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    pub(super) fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts it as `command` with the file of its properties.
    pub(super) fn spawn(&mut self, command: Command) -> io::Result<()> {
        let log = File::create(self.log())?;
        let mut command = command.into_std();
        command.arg(self.properties()).stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        self.process = Some(command.spawn()?);
        Ok(())
    }

    pub(super) fn check_alive(&mut self) -> io::Result<()> {
        if let Some(status) = self.running()?.try_wait()? {
            self.process = None;
            return Err(self.failure(&format!("Kafka ended with {status}")));
        }
        Ok(())
    }

    pub(super) fn kill9(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    pub(super) fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    pub(super) fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    pub(super) fn ask_to_end(&self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        // A frozen process acts on it only once it goes on.
        self.thaw()
    }

    /// Waits for as long as an end in order may take, and makes an end of it.
    pub(super) async fn wait_for_end(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + STOP_LIMIT;
        while self.running()?.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return self.kill9();
            }
            sleep(POLL).await;
        }
        self.process = None;
        Ok(())
    }

    pub(super) fn failure(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let kind = match log.contains("Address already in use") {
            true => io::ErrorKind::AddrInUse,
            false => io::ErrorKind::Other,
        };
        // Where it happened says less than what happened.
        let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with('\t')).collect();
        let tail = lines[lines.len().saturating_sub(SHOWN_LINES)..].join(" | ");
        io::Error::new(kind, format!("{what}; its log ends: {tail}"))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("kafka.log")
    }

    fn running(&mut self) -> io::Result<&mut Child> {
        self.process.as_mut().ok_or_else(not_running)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let process = self.process.as_ref().ok_or_else(not_running)?;
        Ok(kill_process(Pid::from_child(process), signal)?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed; its directory goes away all the same.
        let _ = self.kill9();
    }
}

fn not_running() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "this Kafka node is not running")
}
