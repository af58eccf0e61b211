//! The scripts of RabbitMQ: this system's, or those of another Debian that `cargo xtask` has put into a folder.

use std::env;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// The folder of that Debian.
const VARIABLE: &str = "ZEPHCAST_RABBITMQ_ROOT";
/// What Debian and Fedora have on the search path runs them as a user of their own, on the data of the system's server.
const UNWRAPPED: &str = "/usr/lib/rabbitmq/bin";
/// Sees of this system what the script needs, in the same places; nobody else sees these mounts, and they end with it.
const ENTER: &str = r#"
root=$1 data=$2
shift 2
# A place for each data would stay behind; this one is always the same.
around=${data%/*}
mkdir -p "$root$around"
mount --rbind "$around" "$root$around"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"
"#;

/// A script whose files are in this folder. Its process is the one that is started.
pub(super) fn script(name: &str, folder: &Path) -> Command {
    let unwrapped = Path::new(UNWRAPPED).join(name);
    let Some(root) = env::var_os(VARIABLE).map(PathBuf::from) else {
        return Command::new(if unwrapped.is_file() { unwrapped } else { name.into() });
    };
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-ec", ENTER, "sh"]).arg(root).arg(folder).arg(unwrapped);
    command
}
