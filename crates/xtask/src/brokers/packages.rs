//! Finds a program, or installs it where we may.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::geteuid;
use tokio::process::Command;

use crate::process::{self, Echo};

const INSTALL_LIMIT: Duration = Duration::from_secs(600);
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// A program that the system's package manager knows.
pub(super) struct Package {
    pub(super) program: &'static str,
    /// Its name for apt-get.
    pub(super) package: &'static str,
    /// What to do where nothing can be installed.
    pub(super) advice: &'static str,
}

/// Where the program is; installs it as root with apt-get.
pub(super) async fn ensure(package: &Package) -> anyhow::Result<PathBuf> {
    match process::find(package.program) {
        Some(program) => Ok(program),
        None => install(package).await,
    }
}

/// Installs it, even where a program of its name is found already: that one may be too old.
pub(super) async fn install(package: &Package) -> anyhow::Result<PathBuf> {
    if !geteuid().is_root() || process::find("apt-get").is_none() {
        bail!("there is no {}. {}", package.program, package.advice);
    }
    eprintln!("there is no {}: apt-get install {}", package.program, package.package);
    let _policy = NoServices::hold(Path::new(POLICY))?;
    apt_get(&["update"]).await?;
    apt_get(&["install", "--yes", "--no-install-recommends", package.package]).await.context(package.advice)?;
    process::find(package.program).with_context(|| format!("{} brought no {}", package.package, package.program))
}

async fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    // Killed, it would leave packages half configured; interrupted, apt-get ends after the step that it is at.
    let finished = process::run_gently(command, INSTALL_LIMIT, Echo::Hidden).await?;
    if !finished.success() {
        bail!("apt-get {}: {}\n{}", arguments.join(" "), finished.end(), finished.stdout);
    }
    Ok(())
}

/// Keeps packages from starting the services they bring, while it lives: tests want servers of their own. A policy that
/// the machine has already stays as it is.
struct NoServices(Option<PathBuf>);

impl NoServices {
    fn hold(policy: &Path) -> io::Result<Self> {
        if policy.exists() {
            return Ok(Self(None));
        }
        fs::write(policy, "#!/bin/sh\nexit 101\n")?;
        let held = Self(Some(policy.to_owned()));
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(held)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = &self.0 {
            // It fails only when somebody else removed it first.
            let _ = fs::remove_file(policy);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::NoServices;

    #[test]
    fn a_policy_of_ours_forbids_and_goes_and_a_policy_of_others_stays() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        let held = NoServices::hold(&policy).unwrap();
        assert!(fs::read_to_string(&policy).unwrap().ends_with("exit 101\n"));
        assert_eq!(fs::metadata(&policy).unwrap().permissions().mode() & 0o111, 0o111);
        drop(held);
        assert!(!policy.exists());

        fs::write(&policy, "theirs").unwrap();
        drop(NoServices::hold(&policy).unwrap());
        assert_eq!(fs::read_to_string(&policy).unwrap(), "theirs");
    }
}
