//! Where a private RabbitMQ runs: files and ports of its own, nothing of the system's server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use tokio::process::Command;

use super::{RabbitOptions, installation};
use crate::ports;

const PLUGINS: &str = "[rabbitmq_management,rabbitmq_consistent_hash_exchange].\n";
/// By default a quorum queue counts its messages every five seconds; `rabbitmq.conf` has no name for it.
const QUICK_COUNTS: &str = "-rabbit quorum_tick_interval 1000";
/// How many seconds apart management gathers figures is the smallest of these, which by default is five.
const GATHERED: [&str; 3] = ["global", "basic", "detailed"];
const PORT_MAPPER_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Site {
    folder: PathBuf,
    clients: u16,
    management: u16,
    /// For other nodes of Erlang, which are its command line tools.
    distribution: u16,
    /// Of the daemon that tells such nodes where they find each other.
    port_mapper: u16,
    /// The names of all nodes of its cluster; none when it is alone.
    peers: Vec<String>,
}

impl Site {
    pub(super) fn new(options: &RabbitOptions, folder: &Path) -> io::Result<Self> {
        let site = Self::vacant(folder)?;
        site.furnish(options)?;
        Ok(site)
    }

    /// Of nodes that form a cluster, each in one of these folders.
    pub(super) fn cluster(options: &RabbitOptions, folders: &[&Path]) -> io::Result<Vec<Self>> {
        let mut sites = folders.iter().map(|folder| Self::vacant(folder)).collect::<io::Result<Vec<_>>>()?;
        let peers: Vec<String> = sites.iter().map(Self::name).collect();
        let port_mapper = sites[0].port_mapper;
        for site in &mut sites {
            site.peers.clone_from(&peers);
            site.port_mapper = port_mapper;
            site.furnish(options)?;
            // One secret for all, by which they know each other. Erlang takes none that others may read.
            let cookie = site.file(".erlang.cookie");
            fs::write(&cookie, format!("ZEPHCAST{:010}{port_mapper:010}", std::process::id()))?;
            fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
        }
        Ok(sites)
    }

    fn vacant(folder: &Path) -> io::Result<Self> {
        let [clients, management, distribution, port_mapper] = ports::several()?;
        Ok(Self { folder: folder.to_owned(), clients, management, distribution, port_mapper, peers: Vec::new() })
    }

    fn furnish(&self, options: &RabbitOptions) -> io::Result<()> {
        fs::write(self.file("rabbitmq.conf"), self.settings(options))?;
        fs::write(self.file("enabled_plugins"), PLUGINS)
    }

    /// The node's name among its kind.
    pub(super) fn name(&self) -> String {
        format!("zephcast-{}@localhost", self.clients)
    }

    pub(super) fn clients(&self) -> SocketAddr {
        loopback(self.clients)
    }

    pub(super) fn management(&self) -> SocketAddr {
        loopback(self.management)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.file("rabbitmq.log")
    }

    /// The server. Its script becomes the server, so that the process that is started is the one to kill.
    pub(super) fn server(&self) -> Command {
        let mut command = self.script("rabbitmq-server");
        command.env("RABBITMQ_ALLOW_INPUT", "1").env("RABBITMQ_SERVER_START_ARGS", "-noinput");
        let arguments = format!("-kernel inet_dist_use_interface {{127,0,0,1}} {QUICK_COUNTS}");
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", arguments);
        command
    }

    pub(super) fn ctl(&self) -> Command {
        self.script("rabbitmqctl")
    }

    /// Ends the port mapper, which the server starts and which outlives it.
    pub(super) fn end_port_mapper(&self) -> io::Result<()> {
        let mut socket = TcpStream::connect_timeout(&loopback(self.port_mapper), PORT_MAPPER_LIMIT)?;
        socket.set_read_timeout(Some(PORT_MAPPER_LIMIT))?;
        // A request of one byte, KILL_REQ; it says OK, and is gone when it hangs up.
        socket.write_all(b"\x00\x01k")?;
        socket.read_to_end(&mut Vec::new()).map(drop)
    }

    fn settings(&self, options: &RabbitOptions) -> String {
        let fixed = [
            format!("listeners.tcp.1 = {}", self.clients()),
            "management.tcp.ip = 127.0.0.1".to_owned(),
            format!("management.tcp.port = {}", self.management),
            // By default channels and queues tell what they know every five seconds.
            "collect_statistics_interval = 1000".to_owned(),
        ];
        let gathered = GATHERED.map(|kept| format!("management.sample_retention_policies.{kept}.minute = 1"));
        let numbered = self.peers.iter().enumerate();
        let peers: Vec<String> = match self.peers.is_empty() {
            true => Vec::new(),
            false => ["cluster_formation.peer_discovery_backend = classic_config".to_owned()]
                .into_iter()
                .chain(numbered.map(|(n, name)| format!("cluster_formation.classic_config.nodes.{} = {name}", n + 1)))
                .collect(),
        };
        fixed.iter().chain(&gathered).chain(&peers).chain(&options.settings).map(|line| format!("{line}\n")).collect()
    }

    fn script(&self, name: &str) -> Command {
        let mut command = installation::script(name, &self.folder);
        // A setting of the machine's own server must not reach this one.
        for (variable, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"RABBITMQ_")) {
            command.env_remove(variable);
        }
        command
            .env("HOME", &self.folder)
            .env("RABBITMQ_NODENAME", self.name())
            .env("RABBITMQ_CONF_ENV_FILE", self.file("no-environment"))
            .env("RABBITMQ_CONFIG_FILE", self.file("rabbitmq.conf"))
            .env("RABBITMQ_CONFIG_FILES", self.file("no-more-settings"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", self.file("no-advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.file("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", self.file("mnesia"))
            .env("RABBITMQ_LOG_BASE", self.file("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("ERL_EPMD_PORT", self.port_mapper.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // So that it can be told to end.
            .env("ERL_EPMD_RELAXED_COMMAND_CHECK", "1")
            // A dump would be written wherever the test runs.
            .env("ERL_CRASH_DUMP_BYTES", "0");
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
