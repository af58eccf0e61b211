//! RabbitMQ, with its management and the exchange that shares a stream out among queues.

mod debian;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::native::Site;
use super::packages::{self, Package};
use super::ports::loopback;
use super::recipe::{Recipe, Versions};
use crate::workspace::Workspace;

pub(super) const RECIPE: Recipe = Recipe {
    name: "rabbitmq",
    driver: "rabbit",
    url_variable: "RABBITMQ_URL",
    test_variable: "ZEPHCAST_TEST_RABBITMQ_URL",
    default_port: 5672,
    first_port: 17_672,
    url: |nodes| {
        let all = |which: usize| nodes.iter().map(|ports| format!("127.0.0.1:{}", ports[which])).collect::<Vec<_>>();
        let (clients, management) = (all(0).join(","), all(MANAGEMENT).join(","));
        format!("amqp://guest:guest@{clients}/%2f?management=http://{management}")
    },
    compose_file: "compose/rabbitmq.yml",
    port_variables: &["ZEPHCAST_RABBITMQ_PORT", "ZEPHCAST_RABBITMQ_MANAGEMENT_PORT"],
    versions: Some(Versions { usual: None, variable: "ZEPHCAST_RABBITMQ_VERSION" }),
    clusters: true,
    ports: 4,
    recognises: |command_line, port| {
        command_line.contains("-s rabbit boot") && command_line.contains(&format!("{} ", mark(port)))
    },
};

// Of a process's ports, the first of which serves clients.
const MANAGEMENT: usize = 1;
/// For other nodes of Erlang, which are its command line tools.
const DISTRIBUTION: usize = 2;
/// Of the daemon that tells such nodes where they find each other.
const PORT_MAPPER: usize = 3;

const PACKAGE: Package = Package {
    program: "rabbitmq-server",
    package: "rabbitmq-server",
    advice: "Install RabbitMQ (Debian, Ubuntu: sudo apt-get install rabbitmq-server; Fedora: sudo dnf install \
             rabbitmq-server; macOS: brew install rabbitmq), or start Docker, or set RABBITMQ_URL.",
};
/// What Debian and Fedora have on the search path runs it as a user of its own, on the data of the system's server.
const UNWRAPPED: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const PLUGINS: &str = "[rabbitmq_management,rabbitmq_consistent_hash_exchange].\n";
const PORT_MAPPER_LIMIT: Duration = Duration::from_secs(2);

/// The script that starts it, or the folder of another Debian that has it.
pub(super) async fn install(version: Option<&str>, workspace: &Workspace) -> anyhow::Result<PathBuf> {
    if let Some(version) = version {
        return debian::ensure(version, workspace).await;
    }
    let program = packages::ensure(&PACKAGE).await?;
    let unwrapped = Path::new(UNWRAPPED);
    Ok(if unwrapped.is_file() { unwrapped.to_owned() } else { program })
}

/// Everything that they read and write is in the site, nothing of the system's server.
pub(super) fn commands(site: &Site) -> anyhow::Result<Vec<Command>> {
    write_cookie(&site.data)?;
    (0..site.nodes.len()).map(|index| command(site, index)).collect()
}

/// One secret for all nodes, by which they know each other. Each would make its own, and the last one written would count.
fn write_cookie(home: &Path) -> io::Result<()> {
    let file = home.join(".erlang.cookie");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    fs::write(&file, format!("{since:020X}{:010X}", std::process::id()))?;
    // Erlang takes none that others may read.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400))
}

fn command(site: &Site, index: usize) -> anyhow::Result<Command> {
    let ports = &site.nodes[index];
    let folder = site.data.join(format!("node-{}", index + 1));
    let file = |name: &str| folder.join(name);
    fs::create_dir(&folder)?;
    fs::write(file("rabbitmq.conf"), settings(index, &site.nodes))?;
    fs::write(file("enabled_plugins"), PLUGINS)?;
    let mut command = match site.installed.is_dir() {
        true => debian::command(&site.installed, &site.data, UNWRAPPED),
        false => Command::new(&site.installed),
    };
    // A setting of the machine's own server must not reach this one.
    for (variable, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"RABBITMQ_")) {
        command.env_remove(variable);
    }
    command
        .env("HOME", &site.data)
        .env("RABBITMQ_NODENAME", node_name(ports))
        .env("RABBITMQ_CONF_ENV_FILE", file("no-environment"))
        .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
        .env("RABBITMQ_CONFIG_FILES", file("no-more-settings"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", file("no-advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", file("mnesia"))
        .env("RABBITMQ_LOG_BASE", file("log"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_DIST_PORT", ports[DISTRIBUTION].to_string())
        // The nodes of a cluster find each other by one.
        .env("ERL_EPMD_PORT", site.nodes[0][PORT_MAPPER].to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // So that it can be told to end.
        .env("ERL_EPMD_RELAXED_COMMAND_CHECK", "1")
        // A dump would be written wherever we are.
        .env("ERL_CRASH_DUMP_BYTES", "0")
        // The script becomes the server, so that its process is the one that we know...
        .env("RABBITMQ_ALLOW_INPUT", "1")
        // ...without the input that it would offer then.
        .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            format!("-kernel inet_dist_use_interface {{127,0,0,1}} {}", mark(ports[0])),
        );
    Ok(command)
}

fn node_name(ports: &[u16]) -> String {
    format!("zephcast-{}@localhost", ports[0])
}

/// Whether it takes clients, which it does when all else is ready.
pub(super) async fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(b"AMQP\x00\x00\x09\x01").await?;
    // The type of a frame that carries a method: Connection.Start.
    Ok(socket.read_u8().await? == 1)
}

/// Ends the port mapper, which the server starts and which outlives it.
pub(super) fn end_helpers(ports: &[u16]) {
    if let Some(port) = ports.get(PORT_MAPPER) {
        // It fails when there is none any more.
        let _ = end_port_mapper(loopback(*port));
    }
}

fn end_port_mapper(address: SocketAddr) -> io::Result<()> {
    let mut socket = std::net::TcpStream::connect_timeout(&address, PORT_MAPPER_LIMIT)?;
    socket.set_read_timeout(Some(PORT_MAPPER_LIMIT))?;
    // A request of one byte, KILL_REQ; it says OK, and is gone when it hangs up.
    socket.write_all(b"\x00\x01k")?;
    socket.read_to_end(&mut Vec::new()).map(drop)
}

fn settings(index: usize, nodes: &[Vec<u16>]) -> String {
    let (clients, management) = (nodes[index][0], nodes[index][MANAGEMENT]);
    let alone = format!(
        "listeners.tcp.1 = 127.0.0.1:{clients}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
# What management shows is a second old at most; by default it is five.
collect_statistics_interval = 1000
"
    );
    if nodes.len() == 1 {
        return alone;
    }
    let numbered = nodes.iter().enumerate();
    let peers = numbered
        .map(|(index, ports)| format!("cluster_formation.classic_config.nodes.{} = {}\n", index + 1, node_name(ports)));
    let found = "cluster_formation.peer_discovery_backend = classic_config\n".to_owned();
    [alone, found].into_iter().chain(peers).collect()
}

/// What tells our process from others that are RabbitMQ, too: a setting of a program that is not there.
fn mark(port: u16) -> String {
    format!("-zephcast port {port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_ours_is_known_by_its_port() {
        let ours = format!("/usr/lib/erlang/bin/beam.smp -- -s rabbit boot {} -noinput ", mark(17_672));
        assert!((RECIPE.recognises)(&ours, 17_672));
        for (other, port) in [
            (ours.as_str(), 1767),
            (ours.as_str(), 17_673),
            ("/usr/lib/erlang/bin/beam.smp -- -s rabbit boot -noinput ", 17_672),
            ("tail -f -zephcast port 17672 ", 17_672),
        ] {
            assert!(!(RECIPE.recognises)(other, port), "{other} on {port}");
        }
    }

    #[test]
    fn its_url_says_where_its_management_is() {
        let url = (RECIPE.url)(&[&[1, 2, 3, 4]]);
        assert_eq!(url, "amqp://guest:guest@127.0.0.1:1/%2f?management=http://127.0.0.1:2");
        let cluster = (RECIPE.url)(&[&[1, 3, 5, 7], &[2, 4, 6, 8]]);
        assert_eq!(cluster, "amqp://guest:guest@127.0.0.1:1,127.0.0.1:2/%2f?management=http://127.0.0.1:3,127.0.0.1:4");
    }

    #[test]
    fn nodes_of_a_cluster_are_told_of_each_other() {
        let (one, other) = (vec![1, 3, 5, 7], vec![2, 4, 6, 8]);
        assert!(!settings(0, std::slice::from_ref(&one)).contains("cluster_formation"));
        let told = settings(1, &[one, other]);
        assert!(told.contains("listeners.tcp.1 = 127.0.0.1:2\n"), "{told}");
        assert!(told.contains("nodes.1 = zephcast-1@localhost\n") && told.contains("nodes.2 = zephcast-2@localhost\n"));
    }
}
