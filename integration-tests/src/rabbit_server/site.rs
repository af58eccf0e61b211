//! Where a private RabbitMQ runs: files and ports of its own, nothing of the system's server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
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
}

impl Site {
    pub(super) fn new(options: &RabbitOptions, folder: &Path) -> io::Result<Self> {
        let [clients, management, distribution, port_mapper] = ports::several()?;
        let site = Self { folder: folder.to_owned(), clients, management, distribution, port_mapper };
        fs::write(site.file("rabbitmq.conf"), site.settings(options))?;
        fs::write(site.file("enabled_plugins"), PLUGINS)?;
        Ok(site)
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
        fixed.iter().chain(&gathered).chain(&options.settings).map(|line| format!("{line}\n")).collect()
    }

    fn script(&self, name: &str) -> Command {
        let mut command = installation::script(name, &self.folder);
        // A setting of the machine's own server must not reach this one.
        for (variable, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"RABBITMQ_")) {
            command.env_remove(variable);
        }
        command
            .env("HOME", &self.folder)
            .env("RABBITMQ_NODENAME", format!("zephcast-{}@localhost", self.clients))
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
