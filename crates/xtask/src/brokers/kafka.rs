//! Kafka: jars from Maven, run by this machine's Java as brokers and controllers in one, without a further service.

mod archive;
mod download;
mod java;
mod properties;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::native::Site;
use super::packages::{self, Package};
use super::recipe::{Recipe, Versions};
use crate::process::{self, Echo};
use crate::workspace::Workspace;

pub(super) const RECIPE: Recipe = Recipe {
    name: "kafka",
    driver: "kafka",
    url_variable: "KAFKA_URL",
    test_variable: "ZEPHCAST_TEST_KAFKA_URL",
    default_port: 9092,
    first_port: 19_092,
    url: |nodes| format!("kafka://{}", nodes.iter().map(|ports| address(ports[0])).collect::<Vec<_>>().join(",")),
    compose_file: "compose/kafka.yml",
    port_variables: &["ZEPHCAST_KAFKA_PORT"],
    versions: Some(Versions { usual: Some("4.4.0"), variable: "ZEPHCAST_KAFKA_VERSION" }),
    clusters: true,
    // For clients, and for the controllers among themselves.
    ports: 2,
    recognises: |command_line, port| {
        command_line.contains("kafka.Kafka") && command_line.contains(&format!("{} ", mark(port)))
    },
};

/// Where fault tests find the jars.
const LIBS_VARIABLE: &str = "ZEPHCAST_KAFKA_LIBS";
const FORMAT_LIMIT: Duration = Duration::from_secs(60);

/// What fault tests call.
const TEST_TOOLS: [Package; 2] = [
    // A client of others: what it reads is there.
    Package {
        program: "kcat",
        package: "kcat",
        advice: "Install kcat (Debian, Ubuntu: sudo apt-get install kcat; macOS: brew install kcat).",
    },
    // Makes certificates.
    Package {
        program: "openssl",
        package: "openssl",
        advice: "Install OpenSSL (Debian, Ubuntu: sudo apt-get install openssl; Fedora: sudo dnf install openssl).",
    },
];

/// The folder with the jars.
pub(super) async fn install(version: Option<&str>, workspace: &Workspace) -> anyhow::Result<PathBuf> {
    java::ensure().await?;
    let jars = download::ensure(version.context("a version of Kafka")?, workspace).await?;
    if let Err(error) = archive::ensure(&jars).await {
        eprintln!("kafka: no archive of its classes: {error:#}");
    }
    Ok(jars)
}

pub(super) async fn equip_tests(workspace: &Workspace) -> anyhow::Result<Vec<(&'static str, OsString)>> {
    for tool in &TEST_TOOLS {
        packages::ensure(tool).await?;
    }
    let libs = match env::var_os(LIBS_VARIABLE) {
        Some(libs) => libs,
        None => install(RECIPE.versions.as_ref().and_then(|versions| versions.usual), workspace).await?.into(),
    };
    Ok(vec![(LIBS_VARIABLE, libs)])
}

/// Formats the storage of each node.
pub(super) async fn commands(site: &Site) -> anyhow::Result<Vec<Command>> {
    let java = java::ensure().await?;
    let java = || {
        let mut command = Command::new(&java);
        command.args(["-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.showDateTime=true"]);
        let archive = archive::file(&site.installed);
        if archive.is_file() {
            // One of another Java is passed over; Java need not tell.
            command.arg(format!("-XX:SharedArchiveFile={}", archive.display())).arg("-Xlog:disable");
        }
        // Each start would log all settings several times.
        command.args(["-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn", "-cp"]);
        command.arg(site.installed.join("*"));
        command
    };
    let cluster = cluster_id();
    let mut commands = Vec::new();
    for (index, ports) in site.nodes.iter().enumerate() {
        let folder = site.data.join(format!("node-{}", index + 1));
        fs::create_dir(&folder)?;
        let file = folder.join("server.properties");
        fs::write(&file, properties::of(index, &site.nodes, &folder.join("log")))?;

        let mut format = java();
        format.args(["-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
        format.args(["kafka.tools.StorageTool", "format", "--cluster-id", &cluster, "--config"]).arg(&file);
        let formatted = process::run(format.into(), FORMAT_LIMIT, Echo::Hidden).await?;
        if !formatted.success() {
            bail!("the storage of node {}: {}\n{}", index + 1, formatted.end(), formatted.stdout);
        }
        let mut server = java();
        server.args(["-Xmx512m", &mark(ports[0]), "kafka.Kafka"]).arg(&file);
        commands.push(server);
    }
    Ok(commands)
}

/// Whether the node serves clients, which is when it counts itself among the brokers that live.
pub(super) async fn answers(node: SocketAddr) -> io::Result<bool> {
    // Metadata, version 1, of no topic: key, version, correlation, no client's name, no topics.
    let request = [0, 3, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    let mut socket = TcpStream::connect(node).await?;
    socket.write_u32(14).await?;
    socket.write_all(&request).await?;
    let length = socket.read_u32().await?;
    let mut reply = Vec::new();
    socket.take(length.into()).read_to_end(&mut reply).await?;
    // In it: a host as length and text, and its port.
    let host = node.ip().to_string();
    let itself = [&[0, host.len() as u8], host.as_bytes(), &u32::from(node.port()).to_be_bytes()].concat();
    Ok(reply.windows(itself.len()).any(|part| part == itself))
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// What tells our process from others that are Kafka, too.
fn mark(port: u16) -> String {
    format!("-Dzephcast.port={port}")
}

/// 16 bytes in the alphabet of base64, of which digits are a part. Nodes of another cluster are refused by it.
fn cluster_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{since:021}A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_ours_is_known_by_its_port() {
        let ours = format!("/usr/bin/java -Xmx512m {} kafka.Kafka /data/server.properties ", mark(19_092));
        assert!((RECIPE.recognises)(&ours, 19_092));
        for (other, port) in [
            (ours.as_str(), 1909),
            (ours.as_str(), 19_093),
            ("java -Xmx512m kafka.Kafka /etc/kafka/server.properties ", 19_092),
            ("tail -f -Dzephcast.port=19092 ", 19_092),
        ] {
            assert!(!(RECIPE.recognises)(other, port), "{other} on {port}");
        }
    }

    #[test]
    fn a_cluster_is_told_in_one_url() {
        assert_eq!((RECIPE.url)(&[&[1, 3], &[2, 4]]), "kafka://127.0.0.1:1,127.0.0.1:2");
    }
}
