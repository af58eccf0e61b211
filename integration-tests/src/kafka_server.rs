//! A private Kafka of one or several nodes that a test may kill, freeze and restart, with whatever security it needs.

mod installation;
mod node;
mod options;
mod probe;
mod properties;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use self::installation::Installation;
use self::node::Node;
pub use self::options::{KafkaOptions, Listener};

const START_LIMIT: Duration = Duration::from_secs(90);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// A port found free may be taken before Kafka binds it; then others are tried.
const START_ATTEMPTS: usize = 5;

/// A Kafka on loopback ports and in a temporary directory of its own; killed and removed when dropped. Its nodes are
/// counted from 0; each is broker and controller.
///
/// Besides the listeners asked for there is always a plain one, on which everything is allowed.
#[derive(Debug)]
pub struct KafkaServer {
    options: KafkaOptions,
    installation: Installation,
    nodes: Vec<Node>,
    directory: TempDir,
}

impl KafkaServer {
    /// Starts all nodes and waits until they serve clients.
    ///
    /// # Errors
    ///
    /// When there are no jars or no Java, or a node does not start; the error carries the end of its log.
    pub async fn start(options: KafkaOptions) -> io::Result<Self> {
        let installation = Installation::find()?;
        for attempt in 1.. {
            let directory = TempDir::with_prefix("zephcast-kafka-")?;
            let nodes = Node::all(&options, directory.path())?;
            let mut server = Self { options: options.clone(), installation: installation.clone(), nodes, directory };
            match server.format_and_launch().await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < START_ATTEMPTS => {}
                started => return started.map(|()| server),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// `kafka://HOST:PORT,...` of the plain listener, the same over restarts.
    pub fn url(&self) -> String {
        format!("kafka://{}", self.bootstrap(Listener::Plain))
    }

    /// `HOST:PORT,...` of a listener on all nodes, the same over restarts.
    ///
    /// # Panics
    ///
    /// When the server was started without it.
    pub fn bootstrap(&self, listener: Listener) -> String {
        let addresses = self.nodes.iter().map(|node| node.addr(listener).to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// Where a node's listener is. Behind [`Listener::Proxied`] this is where the proxy leads to.
    ///
    /// # Panics
    ///
    /// When the server was started without it.
    pub fn addr(&self, node: usize, listener: Listener) -> SocketAddr {
        self.nodes[node].addr(listener)
    }

    /// How many nodes there are, running or not.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The process of a node; `None` while it does not run.
    pub fn pid(&self, node: usize) -> Option<u32> {
        self.nodes[node].pid()
    }

    /// The temporary directory, with a folder of settings, data and log for each node.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills a node at once, as a crash does, and waits until it is gone. A dead node stays dead.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn kill9(&mut self, node: usize) -> io::Result<()> {
        self.nodes[node].kill9()
    }

    /// Freezes a node: connections stay open and nobody answers.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn stop(&self, node: usize) -> io::Result<()> {
        self.nodes[node].freeze()
    }

    /// Lets a frozen node go on.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn cont(&self, node: usize) -> io::Result<()> {
        self.nodes[node].thaw()
    }

    /// Ends a node in order: it hands its partitions over to others, as far as there are others. A node whose cluster has
    /// no majority cannot, and is killed after 30 s.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub async fn shut_down(&mut self, node: usize) -> io::Result<()> {
        self.nodes[node].ask_to_end()?;
        self.nodes[node].wait_for_end().await
    }

    /// Starts a node again with the same ports and data, after an orderly end if it still runs.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start). A node alone among dead ones of its cluster never serves: see
    /// [`restart_all`](Self::restart_all).
    pub async fn restart(&mut self, node: usize) -> io::Result<()> {
        if self.pid(node).is_some() {
            self.shut_down(node).await?;
        }
        self.launch(&[node]).await
    }

    /// Starts all nodes again at the same time, after an orderly end of those that still run.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn restart_all(&mut self) -> io::Result<()> {
        let running: Vec<usize> = (0..self.nodes()).filter(|node| self.pid(*node).is_some()).collect();
        for node in &running {
            self.nodes[*node].ask_to_end()?;
        }
        for node in running {
            self.nodes[node].wait_for_end().await?;
        }
        let all: Vec<usize> = (0..self.nodes()).collect();
        self.launch(&all).await
    }

    /// Runs one of Kafka's own commands on the plain listener, such as `org.apache.kafka.tools.TopicCommand` with
    /// `["--list"]`, and returns what it printed. It takes a second or two.
    ///
    /// # Errors
    ///
    /// When the command fails, or is not done in 60 s.
    pub async fn tool(&self, class: &str, arguments: &[&str]) -> io::Result<String> {
        self.tool_on(Listener::Plain, class, arguments).await
    }

    /// As [`tool`](Self::tool), on another listener; what that needs to be let in is for `--command-config` to say.
    ///
    /// # Errors
    ///
    /// As [`tool`](Self::tool).
    pub async fn tool_on(&self, listener: Listener, class: &str, arguments: &[&str]) -> io::Result<String> {
        let mut command = self.installation.java("error");
        command.args([class, "--bootstrap-server", &self.bootstrap(listener)]).args(arguments);
        output(command).await
    }

    /// Runs `kcat`, a client of others, with this server's plain listener as its first argument, and returns what it
    /// printed. Before librdkafka 2.6.1, as in Debian 12, its SCRAM is refused by Kafka 4.
    ///
    /// # Errors
    ///
    /// When `kcat` is missing or fails, or is not done in 60 s.
    pub async fn kcat(&self, arguments: &[&str]) -> io::Result<String> {
        self.kcat_on(Listener::Plain, arguments).await
    }

    /// As [`kcat`](Self::kcat), on another listener; what that needs to be let in is for the arguments to say.
    ///
    /// # Errors
    ///
    /// As [`kcat`](Self::kcat).
    pub async fn kcat_on(&self, listener: Listener, arguments: &[&str]) -> io::Result<String> {
        let mut command = tokio::process::Command::new("kcat");
        command.args(["-b", &self.bootstrap(listener)]).args(arguments);
        output(command).await
    }

    async fn format_and_launch(&mut self) -> io::Result<()> {
        let cluster = cluster_id();
        for number in 0..self.nodes() {
            properties::write(&self.options, &self.nodes, number)?;
            let mut format = self.installation.java("warn");
            format.args(["kafka.tools.StorageTool", "format", "--cluster-id", &cluster, "--config"]);
            format.arg(self.nodes[number].properties());
            for (name, password) in &self.options.users {
                for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                    format.args(["--add-scram", &format!("{mechanism}=[name={name},password={password}]")]);
                }
            }
            output(format).await?;
        }
        let all: Vec<usize> = (0..self.nodes()).collect();
        self.launch(&all).await
    }

    /// Starts nodes together, since one alone cannot form a cluster.
    async fn launch(&mut self, nodes: &[usize]) -> io::Result<()> {
        for node in nodes {
            let mut command = self.installation.java("info");
            command.args(["-Xmx512m", "kafka.Kafka"]);
            self.nodes[*node].spawn(command)?;
        }
        let deadline = Instant::now() + START_LIMIT;
        for node in nodes {
            while !probe::serves(self.nodes[*node].addr(Listener::Plain)).await {
                for node in nodes {
                    self.nodes[*node].check_alive()?;
                }
                if Instant::now() > deadline {
                    return Err(self.nodes[*node].failure(&format!("Kafka does not serve after {START_LIMIT:?}")));
                }
                sleep(POLL).await;
            }
        }
        Ok(())
    }
}

/// Runs a command to its end.
async fn output(mut command: tokio::process::Command) -> io::Result<String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let running = command.kill_on_drop(true).stdin(Stdio::null()).output();
    let output = timeout(COMMAND_LIMIT, running)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("{program}: not done in {COMMAND_LIMIT:?}")))?
        .map_err(|error| io::Error::new(error.kind(), format!("{program} cannot be run: {error}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        return Ok(out);
    }
    Err(io::Error::other(format!("{program}: {}\n{out}\n{err}", output.status)))
}

/// 16 bytes in the alphabet of base64, of which digits are a part. Nodes of another cluster are refused by it.
fn cluster_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{since:021}A")
}
