//! The Java that runs it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::bail;
use tokio::process::Command;

use crate::brokers::packages::{self, Package};
use crate::process::{self, Echo};

/// Brokers from 4.0 on need it.
const OLDEST: u32 = 17;
const ASK_LIMIT: Duration = Duration::from_secs(20);

const PACKAGE: Package = Package {
    program: "java",
    package: "default-jre-headless",
    advice: "Install Java 17 or newer (Debian, Ubuntu: sudo apt-get install default-jre-headless; Fedora: sudo dnf \
             install java-latest-openjdk-headless; macOS: brew install openjdk) or set JAVA_HOME, or start Docker, or \
             set KAFKA_URL.",
};

/// The one of `JAVA_HOME`, or that on the search path, or one that is installed.
pub(super) async fn ensure() -> anyhow::Result<PathBuf> {
    let home = env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    for java in home.into_iter().chain(process::find(PACKAGE.program)) {
        if version(&java).await.is_some_and(|version| version >= OLDEST) {
            return Ok(java);
        }
    }
    let java = packages::install(&PACKAGE).await?;
    if version(&java).await.is_none_or(|version| version < OLDEST) {
        bail!("{} is too old. {}", java.display(), PACKAGE.advice);
    }
    Ok(java)
}

/// `None`: it does not run, or is so old that it has no such option.
async fn version(java: &Path) -> Option<u32> {
    let mut command = Command::new(java);
    command.arg("--version").stderr(Stdio::null());
    let finished = process::run(command, ASK_LIMIT, Echo::Hidden).await.ok()?;
    parse(&finished.stdout)
}

/// `openjdk 17.0.15 2025-04-15`
fn parse(said: &str) -> Option<u32> {
    let version = said.split_whitespace().nth(1)?;
    version.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_version_is_the_second_word() {
        for (said, version) in [
            ("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime Environment", Some(17)),
            ("java 21 2023-09-19 LTS", Some(21)),
            ("openjdk 24-ea 2025-03-18", Some(24)),
            ("", None),
        ] {
            assert_eq!(parse(said), version, "{said}");
        }
    }
}
