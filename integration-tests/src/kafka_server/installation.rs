//! The jars and the Java that `cargo xtask` has put in place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use tokio::process::Command;

const VARIABLE: &str = "ZEPHCAST_KAFKA_LIBS";

#[derive(Clone, Debug)]
pub(super) struct Installation {
    libs: PathBuf,
    java: OsString,
}

impl Installation {
    /// The folder named by the environment, or the newest beside this build.
    pub(super) fn find() -> io::Result<Self> {
        let libs = match env::var_os(VARIABLE) {
            Some(libs) => Some(libs.into()),
            None => downloaded(&env::current_exe()?),
        };
        let libs = libs.filter(|libs: &PathBuf| libs.is_dir()).ok_or_else(|| {
            let advice = "`cargo xtask test kafka` and `cargo xtask brokers up kafka` download it";
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no Kafka: {advice}; or set {VARIABLE} to the folder with its jars"),
            )
        })?;
        let java = env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java")).filter(|java| java.is_file());
        Ok(Self { libs, java: java.map_or("java".into(), PathBuf::into_os_string) })
    }

    /// Java with the jars, made for a quick start, and a log of this level that goes to stderr.
    pub(super) fn java(&self, level: &str) -> Command {
        let mut command = Command::new(&self.java);
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.showDateTime=true"]);
        command.arg(format!("-Dorg.slf4j.simpleLogger.defaultLogLevel={level}"));
        let archive = self.libs.join("classes.jsa");
        if archive.is_file() {
            // One of another Java is passed over; Java need not tell.
            command.arg(format!("-XX:SharedArchiveFile={}", archive.display())).arg("-Xlog:disable");
        }
        // Each start would log all settings several times.
        command.args(["-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn", "-cp"]);
        command.arg(self.libs.join("*"));
        command
    }
}

/// The newest of the versions that lie beside a program of this workspace.
fn downloaded(program: &Path) -> Option<PathBuf> {
    let folder = program.ancestors().map(|target| target.join("brokers/kafka")).find(|folder| folder.is_dir())?;
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    entries.filter(|path| path.is_dir() && version(path).is_some()).max_by_key(|path| version(path))
}

fn version(folder: &Path) -> Option<Vec<u32>> {
    folder.file_name()?.to_str()?.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_download_beside_the_program_is_taken() {
        let target = tempfile::tempdir().unwrap();
        let program = target.path().join("debug/deps/test");
        assert_eq!(downloaded(&program), None);
        for name in ["4.9.0", "4.10.1", "4.10.0", "data"] {
            fs::create_dir_all(target.path().join("brokers/kafka").join(name)).unwrap();
        }
        assert_eq!(downloaded(&program), Some(target.path().join("brokers/kafka/4.10.1")));
    }
}
