//! What the command does on the embedded broker, which needs no server.

mod bench;
mod demo;

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Nothing here takes longer; what does hangs.
const LIMIT: Duration = Duration::from_secs(60);

struct Finished {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Starts the command; no broker is named.
fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zephcast"));
    command.args(arguments).env_remove("ZEPHCAST_URL").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the command")
}

async fn run(arguments: &[&str]) -> Finished {
    finish(start(arguments)).await
}

async fn finish(child: Child) -> Finished {
    let output = timeout(LIMIT, child.wait_with_output()).await.expect("it ends in time").expect("its output");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn records(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}
