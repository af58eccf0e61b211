//! Another release of Debian in a folder, for the sake of its RabbitMQ and the Erlang that goes with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::geteuid;

use crate::brokers::packages::{self, Package};
use crate::brokers::partial::Partial;
use crate::brokers::{Broker, record};
use crate::process::{self, Echo};
use crate::workspace::Workspace;

/// What can be had, and the release that has it.
const RELEASES: &[(&str, &str)] = &[("3.10", "bookworm"), ("4.0", "trixie")];
const LIMIT: Duration = Duration::from_secs(15 * 60);

const MMDEBSTRAP: Package = Package {
    program: "mmdebstrap",
    package: "mmdebstrap",
    advice: "Install mmdebstrap (Debian, Ubuntu: sudo apt-get install mmdebstrap), or start Docker, or leave --version \
             out.",
};
/// Sees of this system what the server needs, in the same places; nobody else sees these mounts, and they end with it.
const ENTER: &str = r#"
root=$1 data=$2 program=$3
# A place for each data would stay behind; this one is always the same.
around=${data%/*}
mkdir -p "$root$around"
mount --rbind "$around" "$root$around"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$program"
"#;

/// The folder of a version. It appears whole or not at all.
pub(super) async fn ensure(version: &str, workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let release = release(version)?;
    if !geteuid().is_root() {
        bail!("--version: it runs in a Debian of its own, for which we must be root; or start Docker");
    }
    let root = record::folder(Broker::RabbitMq, workspace).join(version);
    if root.is_dir() {
        return Ok(root);
    }
    packages::ensure(&MMDEBSTRAP).await?;
    eprintln!("rabbitmq: downloading {version} with the Debian around it, some 80 MB");
    let partial = Partial::beside(&root)?;
    let fresh = partial.path().join("root");
    // What it mounts is seen by nobody else, so that nothing but files is ever removed here.
    let mut command = private(MMDEBSTRAP.program);
    command.args(["--quiet", "--variant=apt", "--include=rabbitmq-server", release]).arg(&fresh);
    let finished = process::run(command.into(), LIMIT, Echo::Hidden).await?;
    if !finished.success() {
        bail!("mmdebstrap: {}\n{}", finished.end(), finished.stdout.trim_end());
    }
    match fs::rename(&fresh, &root) {
        // Somebody else was faster.
        Err(_) if root.is_dir() => {}
        renamed => renamed.with_context(|| root.display().to_string())?,
    }
    Ok(root)
}

/// Runs a program of that Debian, which finds `data` where it is here. Its process is the one that is started.
pub(super) fn command(root: &Path, data: &Path, program: &str) -> Command {
    let mut command = private("sh");
    command.args(["-ec", ENTER, "sh"]).arg(root).arg(data).arg(program);
    command
}

/// A command with mounts of its own.
fn private(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", program]);
    command
}

fn release(version: &str) -> anyhow::Result<&'static str> {
    let found = RELEASES.iter().find(|(known, _)| *known == version);
    let known: Vec<&str> = RELEASES.iter().map(|(known, _)| *known).collect();
    let (_, release) = found.with_context(|| format!("--version: of rabbitmq there are {}", known.join(", ")))?;
    Ok(release)
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn only_what_there_is_can_be_had() {
        assert_eq!(release("4.0").unwrap(), "trixie");
        let refused = release("../4.0").unwrap_err().to_string();
        assert!(refused.contains("3.10, 4.0"), "{refused}");
    }
}
