//! The jars, fetched once for each version by Maven, which checks what it gets.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::brokers::packages::{self, Package};
use crate::brokers::partial::Partial;
use crate::brokers::{Broker, record};
use crate::process::{self, Echo};
use crate::workspace::Workspace;

const KAFKA: &str = "org.apache.kafka";
const LIMIT: Duration = Duration::from_secs(15 * 60);

const MAVEN: Package = Package {
    program: "mvn",
    package: "maven",
    advice: "Install Maven (Debian, Ubuntu: sudo apt-get install maven; Fedora: sudo dnf install maven; macOS: brew \
             install maven), or start Docker, or set KAFKA_URL.",
};

/// The folder of a version's jars. It appears whole or not at all.
pub(super) async fn ensure(version: &str, workspace: &Workspace) -> anyhow::Result<PathBuf> {
    if !is_version(version) {
        bail!("{version} is no version");
    }
    let jars = record::folder(Broker::Kafka, workspace).join(version);
    if jars.is_dir() {
        return Ok(jars);
    }
    let maven = packages::ensure(&MAVEN).await?;
    eprintln!("kafka: downloading {version} with Maven, some 50 MB");
    let partial = Partial::beside(&jars)?;
    let fetched = fetch(&maven, version, partial.path()).await?;
    match fs::rename(&fetched, &jars) {
        // Somebody else was faster.
        Err(_) if jars.is_dir() => {}
        renamed => renamed.with_context(|| jars.display().to_string())?,
    }
    Ok(jars)
}

async fn fetch(maven: &Path, version: &str, into: &Path) -> anyhow::Result<PathBuf> {
    fs::write(into.join("pom.xml"), project(version))?;
    let jars = into.join("jars");
    let mut command = Command::new(maven);
    command.args(["--batch-mode", "--no-transfer-progress", "--quiet", "-Dstyle.color=never"]);
    command.arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies");
    command.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", jars.display())).current_dir(into);
    let finished = process::run(command, LIMIT, Echo::Hidden).await?;
    if !finished.success() {
        bail!("mvn: {}\n{}", finished.end(), finished.stdout.trim_end());
    }
    Ok(jars)
}

/// The server, its command line tools (without Connect and its web server), and a log that goes to stderr.
fn project(version: &str) -> String {
    let dependency = |group, name, version, more| {
        format!("<dependency>{}<version>{version}</version>{more}</dependency>\n", artifact(group, name))
    };
    let without = format!("<exclusions><exclusion>{}</exclusion></exclusions>", artifact(KAFKA, "connect-runtime"));
    let dependencies = [
        dependency(KAFKA, "kafka_2.13", version, ""),
        dependency(KAFKA, "kafka-tools", version, &without),
        dependency("org.slf4j", "slf4j-simple", "1.7.36", ""),
    ];
    format!(
        "<project><modelVersion>4.0.0</modelVersion><packaging>pom</packaging>{}<version>0</version>\n\
         <dependencies>\n{}</dependencies></project>\n",
        artifact("zephcast", "kafka"),
        dependencies.concat()
    )
}

fn artifact(group: &str, name: &str) -> String {
    format!("<groupId>{group}</groupId><artifactId>{name}</artifactId>")
}

/// It becomes part of a path and of a project file.
fn is_version(text: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '-';
    text.starts_with(|first: char| first.is_ascii_digit()) && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn a_version_stays_within_its_folder_and_file() {
        assert!(is_version("4.4.0") && is_version("4.1.0-rc2"));
        for other in ["", "../4.4.0", "4/../..", "4.4.0</version>", "latest"] {
            assert!(!is_version(other), "{other}");
        }
    }
}
