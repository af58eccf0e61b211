//! A private RabbitMQ that a test may kill, freeze, restart, and bring into need of memory.

mod cluster;
mod installation;
mod site;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

pub use self::cluster::RabbitCluster;
use self::site::Site;

const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// A port found free may be taken before RabbitMQ binds it; then others are tried.
const START_ATTEMPTS: usize = 5;
/// Of the log, when it does not start.
const SHOWN_LINES: usize = 8;

/// How the server is started.
#[derive(Clone, Debug, Default)]
pub struct RabbitOptions {
    /// Further lines of `rabbitmq.conf`, such as `heartbeat = 5`. None by default.
    pub settings: Vec<String>,
}

impl RabbitOptions {
    /// Adds a line to `rabbitmq.conf`.
    pub fn setting(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.settings.push(format!("{key} = {value}"));
        self
    }
}

/// A RabbitMQ of one node on loopback ports and in a temporary directory of its own, with its management and the
/// exchange type `x-consistent-hash`; killed and removed when dropped.
///
/// It is the system's, or that of the Debian whose folder `ZEPHCAST_RABBITMQ_ROOT` names, as root: after
/// `cargo xtask brokers up rabbitmq --version 4.0` that is `target/brokers/rabbitmq/4.0`.
#[derive(Debug)]
pub struct RabbitServer {
    site: Site,
    /// `None` between a kill and the restart.
    process: Option<Child>,
    directory: TempDir,
}

impl RabbitServer {
    /// Starts a server and waits until it takes clients, which takes some 5 s.
    ///
    /// # Errors
    ///
    /// When RabbitMQ is not installed or does not start; the error carries what its log says of that.
    pub async fn start(options: RabbitOptions) -> io::Result<Self> {
        for attempt in 1.. {
            let directory = TempDir::with_prefix("zephcast-rabbitmq-")?;
            let site = Site::new(&options, directory.path())?;
            let mut server = Self { site, process: None, directory };
            match server.launch().await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < START_ATTEMPTS => {}
                started => return started.map(|()| server),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// `amqp://guest:guest@127.0.0.1:PORT/%2f?management=http://127.0.0.1:PORT`, the same over restarts.
    pub fn url(&self) -> String {
        let (clients, management) = (self.addr(), self.management_addr());
        format!("amqp://guest:guest@{clients}/%2f?management=http://{management}")
    }

    /// Its name among the nodes of Erlang, as `rabbitmqctl` shows it.
    pub fn name(&self) -> String {
        self.site.name()
    }

    /// Where the server takes clients, to put a [`Proxy`](crate::proxy::Proxy) in front of it.
    pub fn addr(&self) -> SocketAddr {
        self.site.clients()
    }

    /// Where its management speaks HTTP. What it says is some two seconds old at most.
    pub fn management_addr(&self) -> SocketAddr {
        self.site.management()
    }

    /// The temporary directory with its settings, data and `rabbitmq.log`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills the server at once, as a crash does, and waits until it is gone. A dead server stays dead.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn kill9(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Freezes the server: connections stay open and nobody answers.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub fn stop(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        // Its threads go on until each has heard of it.
        let process = self.process.as_ref().ok_or_else(not_running)?;
        waitid(WaitId::Pid(Pid::from_child(process)), WaitIdOptions::STOPPED)?;
        Ok(())
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub fn cont(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Ends the server in order, which takes some seconds.
    ///
    /// # Errors
    ///
    /// When it is not running, or does not end in 30 s.
    pub async fn shut_down(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        // A frozen process acts on it only once it goes on.
        self.cont()?;
        self.wait_for_end().await
    }

    /// Starts the server again with the same ports and data, after an orderly end if it still runs. A memory alarm is over
    /// then.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) and [`shut_down`](Self::shut_down).
    pub async fn restart(&mut self) -> io::Result<()> {
        if self.process.is_some() {
            self.shut_down().await?;
        }
        self.launch().await
    }

    /// Makes the server find that it has too little memory: whoever publishes is blocked.
    ///
    /// # Errors
    ///
    /// As [`ctl`](Self::ctl).
    pub async fn raise_memory_alarm(&self) -> io::Result<()> {
        // Of all memory, in parts; 0 would mean that nobody may publish, whatever is free, and is no alarm.
        self.ctl(&["set_vm_memory_high_watermark", "0.000001"]).await.map(drop)
    }

    /// Ends what [`raise_memory_alarm`](Self::raise_memory_alarm) began.
    ///
    /// # Errors
    ///
    /// As [`ctl`](Self::ctl).
    pub async fn clear_memory_alarm(&self) -> io::Result<()> {
        // The usual part.
        self.ctl(&["set_vm_memory_high_watermark", "0.4"]).await.map(drop)
    }

    /// Closes the connections of all clients, as an operator does; the server takes new ones at once.
    ///
    /// # Errors
    ///
    /// As [`ctl`](Self::ctl).
    pub async fn close_all_connections(&self) -> io::Result<()> {
        self.ctl(&["close_all_connections", "--global", "a test closes them"]).await.map(drop)
    }

    /// Has the server write down what is declared. By itself it does so within a second or so, and what it has not written is gone
    /// when it is killed, with all messages.
    ///
    /// # Errors
    ///
    /// As [`ctl`](Self::ctl).
    pub async fn write_down(&self) -> io::Result<()> {
        // The table of the queues' logs, in the file `names.dets`, and that of everything else.
        self.ctl(&["eval", "ok = dets:sync(ra_directory_reverse), ok = mnesia:sync_log()."]).await.map(drop)
    }

    /// Runs `rabbitmqctl` against this server and returns what it printed, without the last line's end. It takes half a
    /// second.
    ///
    /// # Errors
    ///
    /// When the command fails, or is not done in 60 s, as on a frozen server.
    pub async fn ctl(&self, arguments: &[&str]) -> io::Result<String> {
        let mut command = self.site.ctl();
        command.arg("--quiet").args(arguments).kill_on_drop(true).stdin(Stdio::null());
        let output = timeout(COMMAND_LIMIT, command.output())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("rabbitmqctl {arguments:?}: no answer")))?
            .map_err(|error| missing("rabbitmqctl", error))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        match output.status.success() {
            true => Ok(out),
            false => Err(io::Error::other(format!("rabbitmqctl {arguments:?}: {}\n{out}\n{err}", output.status))),
        }
    }

    async fn launch(&mut self) -> io::Result<()> {
        let log = File::create(self.site.log())?;
        let mut command = self.site.server().into_std();
        command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        self.process = Some(command.spawn().map_err(|error| missing("rabbitmq-server", error))?);
        let deadline = Instant::now() + START_LIMIT;
        while !self.answers().await {
            if let Some(status) = self.running()?.try_wait()? {
                self.process = None;
                return Err(self.start_failure(&format!("RabbitMQ ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.start_failure(&format!("RabbitMQ takes no clients after {START_LIMIT:?}")));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Whether it takes clients, which it does when all else is ready.
    async fn answers(&self) -> bool {
        let asked = timeout(Duration::from_secs(2), async {
            let mut socket = TcpStream::connect(self.addr()).await?;
            socket.write_all(b"AMQP\x00\x00\x09\x01").await?;
            socket.read_u8().await
        });
        // A frame that carries a method: Connection.Start.
        matches!(asked.await, Ok(Ok(1)))
    }

    async fn wait_for_end(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + STOP_LIMIT;
        while self.running()?.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "RabbitMQ does not end"));
            }
            sleep(POLL).await;
        }
        self.process = None;
        Ok(())
    }

    fn running(&mut self) -> io::Result<&mut Child> {
        self.process.as_mut().ok_or_else(not_running)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let process = self.process.as_ref().ok_or_else(not_running)?;
        Ok(kill_process(Pid::from_child(process), signal)?)
    }

    fn start_failure(&self, what: &str) -> io::Error {
        let log = std::fs::read_to_string(self.site.log()).unwrap_or_default();
        let kind = match log.contains("eaddrinuse") || log.contains("dist_port_already_used") {
            true => io::ErrorKind::AddrInUse,
            false => io::ErrorKind::Other,
        };
        // What follows the first errors is what they led to.
        let errors = log.lines().filter_map(|line| Some(line.split_once("[error] ")?.1)).take(SHOWN_LINES);
        let mut shown: Vec<&str> = errors.collect();
        if shown.is_empty() {
            shown = log.lines().take(SHOWN_LINES).collect();
        }
        io::Error::new(kind, format!("{what}; its log: {}", shown.join(" | ")))
    }
}

impl Drop for RabbitServer {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed; its directory goes away all the same.
        let _ = self.kill9();
        // It fails when there is none.
        let _ = self.site.end_port_mapper();
    }
}

fn not_running() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "this RabbitMQ is not running")
}

fn missing(program: &str, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            error.kind(),
            format!(
                "{program} is not installed: `cargo xtask brokers up rabbitmq` installs it where it may, else install \
                 RabbitMQ 3.10 or later"
            ),
        ),
        _ => error,
    }
}
