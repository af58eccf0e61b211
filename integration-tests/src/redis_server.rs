//! A private `redis-server` that a test may kill, freeze and restart.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::ports;

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
/// A port found free may be taken before Redis binds it; then the next one is tried.
const START_ATTEMPTS: usize = 5;

/// When Redis writes its append-only file to disk, that is, what survives a kill.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Append {
    /// No file: a restart starts empty.
    Off,
    /// Once a second: a kill of the machine may lose the last second.
    EverySecond,
    /// Before every reply: nothing confirmed is lost. The default.
    #[default]
    Always,
}

/// How the server is started.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Default: [`Append::Always`].
    pub append: Append,
    /// Further arguments of `redis-server`, such as `["--requirepass", "secret"]`. None by default.
    pub arguments: Vec<String>,
}

impl RedisOptions {
    /// Sets what survives a kill.
    pub fn append(mut self, append: Append) -> Self {
        self.append = append;
        self
    }

    /// Adds arguments of `redis-server`.
    pub fn arguments<I: IntoIterator<Item = impl Into<String>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
}

/// A Redis on a loopback port and in a temporary directory of its own; killed and removed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    options: RedisOptions,
    port: u16,
    /// `None` between a kill and the restart.
    process: Option<Child>,
    directory: TempDir,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    ///
    /// When `redis-server` is not installed or does not start; the error carries the end of its log.
    pub async fn start(options: RedisOptions) -> io::Result<Self> {
        let directory = TempDir::with_prefix("zephcast-redis-")?;
        let mut server = Self { options, port: 0, process: None, directory };
        for attempt in 1.. {
            server.port = ports::free()?;
            match server.launch().await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < START_ATTEMPTS => {}
                started => return started.map(|()| server),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// `redis://127.0.0.1:PORT`, the same over restarts.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Where the server listens, to put a [`Proxy`](crate::proxy::Proxy) in front of it.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The temporary directory with its data and `redis.log`.
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
        self.signal(Signal::STOP)
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub fn cont(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Ends the server in order.
    ///
    /// # Errors
    ///
    /// When it is not running, or does not end in 10 s.
    pub async fn shut_down(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        // A frozen process acts on it only once it goes on.
        self.cont()?;
        self.wait_for_end().await
    }

    /// Starts the server again with the same port and data, after an orderly end if it still runs.
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

    /// Runs `redis-cli` against this server and returns what it printed, without the last line's end.
    ///
    /// # Errors
    ///
    /// When `redis-cli` is missing, the server answers with an error, or nothing comes in 10 s.
    pub async fn cli(&self, arguments: &[&str]) -> io::Result<String> {
        let mut command = tokio::process::Command::new("redis-cli");
        command.args(["-e", "-h", "127.0.0.1", "-p", &self.port.to_string()]).args(arguments).kill_on_drop(true);
        let output = timeout(COMMAND_LIMIT, command.stdin(Stdio::null()).output())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("redis-cli {arguments:?}: no answer")))?
            .map_err(|error| missing("redis-cli", error))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        Err(io::Error::other(format!("redis-cli {arguments:?}: {}", if err.is_empty() { out } else { err })))
    }

    async fn launch(&mut self) -> io::Result<()> {
        let log = File::create(self.log_path())?;
        let process = Command::new("redis-server")
            .args(self.server_arguments())
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .spawn()
            .map_err(|error| missing("redis-server", error))?;
        self.process = Some(process);
        let deadline = Instant::now() + START_LIMIT;
        while !self.answers().await {
            if let Some(status) = self.running()?.try_wait()? {
                self.process = None;
                return Err(self.start_failure(&format!("redis-server ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.start_failure(&format!("redis-server does not answer after {START_LIMIT:?}")));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn server_arguments(&self) -> Vec<OsString> {
        let (append, sync) = match self.options.append {
            Append::Off => ("no", "no"),
            Append::EverySecond => ("yes", "everysec"),
            Append::Always => ("yes", "always"),
        };
        let port = self.port.to_string();
        let fixed =
            ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", append, "--appendfsync", sync];
        let debug = ["--enable-debug-command", "local"];
        let mut arguments: Vec<OsString> = fixed.into_iter().chain(debug).map(Into::into).collect();
        arguments.extend(["--dir".into(), self.directory.path().into()]);
        arguments.extend(self.options.arguments.iter().map(Into::into));
        arguments
    }

    /// Whether the server has loaded its data and talks, if only to ask for a password.
    async fn answers(&self) -> bool {
        let asked = timeout(Duration::from_secs(1), async {
            let mut socket = TcpStream::connect(self.addr()).await?;
            socket.write_all(b"PING\r\n").await?;
            let mut reply = [0; 16];
            let read = socket.read(&mut reply).await?;
            Ok::<_, io::Error>(reply[..read].starts_with(b"+PONG") || reply[..read].starts_with(b"-NOAUTH"))
        });
        matches!(asked.await, Ok(Ok(true)))
    }

    async fn wait_for_end(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + STOP_LIMIT;
        while self.running()?.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "redis-server does not end"));
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

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("redis.log")
    }

    fn start_failure(&self, what: &str) -> io::Error {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let kind = match log.contains("Address already in use") {
            true => io::ErrorKind::AddrInUse,
            false => io::ErrorKind::Other,
        };
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        io::Error::new(
            kind,
            format!("{what}; its log ends: {}", tail.into_iter().rev().collect::<Vec<_>>().join(" | ")),
        )
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed; its directory goes away all the same.
        let _ = self.kill9();
    }
}

fn not_running() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "this redis-server is not running")
}

fn missing(program: &str, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            error.kind(),
            format!("{program} is not installed: `cargo xtask test` installs it where it may, else install Redis 7"),
        ),
        _ => error,
    }
}
