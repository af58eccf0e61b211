//! A look at the server: its version, the user's rights, risky settings.

use std::collections::HashMap;

use fred::types::Value;
use zephcast_core::driver::Check;
use zephcast_core::{ErrorKind, Result, Warning};

use crate::config::Topology;
use crate::connection::Connection;
use crate::error::CallFailure;
use crate::reply::{map, text};

const OPERATION: &str = "check";

/// Commands that publishing, consuming and managing need, as `ACL DRYRUN` takes them.
const NEEDED: [&[&str]; 35] = [
    &["XADD", "s", "*", "f", "v"],
    &["XREADGROUP", "GROUP", "g", "m", "STREAMS", "s", ">"],
    &["XGROUP", "CREATE", "s", "g", "0"],
    &["XGROUP", "CREATECONSUMER", "s", "g", "m"],
    &["XGROUP", "DELCONSUMER", "s", "g", "m"],
    &["XGROUP", "SETID", "s", "g", "0"],
    &["XGROUP", "DESTROY", "s", "g"],
    &["XACK", "s", "g", "0-1"],
    &["XPENDING", "s", "g"],
    &["XCLAIM", "s", "g", "m", "0", "0-1"],
    &["XINFO", "STREAM", "s"],
    &["XINFO", "GROUPS", "s"],
    &["XINFO", "CONSUMERS", "s", "g"],
    &["XTRIM", "s", "MAXLEN", "0"],
    &["XRANGE", "s", "-", "+"],
    &["XDEL", "s", "0-1"],
    &["XLEN", "s"],
    &["ZADD", "z", "1", "m"],
    &["ZRANGE", "z", "0", "1"],
    &["ZRANGEBYSCORE", "z", "0", "1"],
    &["ZREM", "z", "m"],
    &["ZCARD", "z"],
    &["HSET", "h", "f", "v"],
    &["HGET", "h", "f"],
    &["HDEL", "h", "f"],
    &["HGETALL", "h"],
    &["TYPE", "k"],
    &["UNLINK", "k"],
    &["SCAN", "0"],
    &["CLIENT", "ID"],
    &["CLIENT", "UNBLOCK", "1"],
    &["TIME"],
    &["PING"],
    &["EVALSHA", "0", "0"],
    &["EVAL", "return 1", "0"],
];

pub(crate) async fn run(control: &Connection) -> Result<Check> {
    let facts = info(control).await?;
    let version = facts.get("redis_version").cloned().unwrap_or_else(|| "unknown".into());
    let mut found = Warnings::default();
    warn_of_version(&mut found, &version);
    warn_of_memory(&mut found, &facts);
    warn_of_durability(&mut found, &facts, control).await?;
    warn_of_replicas(&mut found, &facts, control).await?;
    warn_of_rights(&mut found, control).await?;
    warn_of_network(&mut found, control);
    Ok(Check { version, warnings: found.0 })
}

#[derive(Default)]
struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, kind: &'static str, message: impl Into<String>, advice: &str) {
        self.0.push(Warning::new(kind, message, advice));
    }
}

/// What `INFO` says, by name; nothing when the user may not ask.
async fn info(control: &Connection) -> Result<HashMap<String, String>> {
    let report = match allowed(control.try_call(OPERATION, "INFO", None, Vec::new()).await?)? {
        Some(report) => text(OPERATION, report)?,
        None => return Ok(HashMap::new()),
    };
    let facts = report.lines().filter_map(|line| line.split_once(':'));
    Ok(facts.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

/// A setting, where the user may read it.
async fn setting(control: &Connection, name: &str) -> Result<Option<String>> {
    let arguments: Vec<Value> = vec!["GET".into(), name.into()];
    match allowed(control.try_call(OPERATION, "CONFIG", None, arguments).await?)? {
        None => Ok(None),
        Some(answer) => match map(OPERATION, answer)?.pop() {
            Some((_, value)) => text(OPERATION, value).map(Some),
            None => Ok(None),
        },
    }
}

/// The answer, or none when the user has no right to it or the server does not know the question.
fn allowed<T>(answer: std::result::Result<T, CallFailure>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) => {
            let error = failure.into_error(OPERATION);
            match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::Unsupported => Ok(None),
                _ => Err(error),
            }
        }
    }
}

fn warn_of_version(found: &mut Warnings, version: &str) {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next().unwrap_or(0)) {
        (Some(major), minor) if (major, minor) < (6, 2) => found.add(
            "unsupported_version",
            format!("Redis {version} lacks what consuming needs"),
            "upgrade to Redis 6.2 or later",
        ),
        (Some(major), _) if major < 7 => found.add(
            "old_version",
            format!("Redis {version} does not say how far a group is; it is counted instead"),
            "upgrade to Redis 7.0 or later",
        ),
        (Some(_), _) => {}
        (None, _) => found.add("version_unknown", "the version could not be read", "allow the user the command INFO"),
    }
}

fn warn_of_memory(found: &mut Warnings, facts: &HashMap<String, String>) {
    let policy = facts.get("maxmemory_policy").map_or("noeviction", String::as_str);
    let limited = facts.get("maxmemory").is_some_and(|limit| limit != "0");
    // The others evict keys with a time to live only, which streams do not have.
    if !policy.starts_with("allkeys") {
        return;
    }
    if limited {
        found.add(
            "evicting_policy",
            format!("maxmemory-policy is {policy}: when memory is short the server deletes whole streams"),
            "set maxmemory-policy noeviction; publishing then waits instead",
        );
    } else {
        found.add(
            "evicting_policy",
            format!("maxmemory-policy is {policy}: with a maxmemory the server would delete whole streams"),
            "set maxmemory-policy noeviction",
        );
    }
}

async fn warn_of_durability(found: &mut Warnings, facts: &HashMap<String, String>, control: &Connection) -> Result<()> {
    if facts.get("aof_enabled").is_some_and(|enabled| enabled == "0") {
        found.add(
            "not_durable",
            "appendonly is no: what was confirmed since the last snapshot is lost when the server ends",
            "set appendonly yes",
        );
        return Ok(());
    }
    match setting(control, "appendfsync").await?.as_deref() {
        Some("always") | None => {}
        Some(policy) => found.add(
            "fsync_not_always",
            format!("appendfsync is {policy}: a crash of the machine can lose what was confirmed just before"),
            "set appendfsync always if that matters more than speed",
        ),
    }
    Ok(())
}

async fn warn_of_replicas(found: &mut Warnings, facts: &HashMap<String, String>, control: &Connection) -> Result<()> {
    let has_replicas = facts.get("connected_slaves").is_some_and(|replicas| replicas != "0");
    let fails_over = has_replicas || control.config().topology != Topology::Single;
    if fails_over && setting(control, "min-replicas-to-write").await?.as_deref() == Some("0") {
        found.add(
            "failover_loses",
            "min-replicas-to-write is 0: a failover can lose what the old primary confirmed",
            "set min-replicas-to-write 1 and a min-replicas-max-lag",
        );
    }
    Ok(())
}

/// What a right is called: the command, with its subcommand if it has some.
fn name(command: &[&str]) -> String {
    match command {
        [container @ ("XGROUP" | "XINFO" | "CLIENT"), subcommand, ..] => format!("{container} {subcommand}"),
        [command, ..] => (*command).to_owned(),
        [] => String::new(),
    }
}

/// As [`allowed`], with a warning where the user may not ask for its own rights.
fn known<T>(found: &mut Warnings, answer: std::result::Result<T, CallFailure>) -> Result<Option<T>> {
    let failure = match answer {
        Ok(answer) => return Ok(Some(answer)),
        Err(failure) => failure,
    };
    let error = failure.into_error(OPERATION);
    match error.kind() {
        ErrorKind::PermissionDenied => {
            let mut needed: Vec<String> = NEEDED.iter().map(|command| name(command)).collect();
            needed.dedup();
            found.add(
                "rights_unknown",
                format!("the user may not ask for its own rights; it needs {}", needed.join(", ")),
                "allow the user the commands ACL WHOAMI and ACL DRYRUN, and check again",
            );
            Ok(None)
        }
        ErrorKind::Unsupported => Ok(None),
        _ => Err(error),
    }
}

async fn warn_of_rights(found: &mut Warnings, control: &Connection) -> Result<()> {
    let whoami = control.try_call(OPERATION, "ACL", None, vec!["WHOAMI".into()]).await?;
    let Some(user) = known(found, whoami)? else { return Ok(()) };
    let user = text(OPERATION, user)?;
    let mut missing = Vec::new();
    for command in NEEDED {
        let mut arguments: Vec<Value> = vec!["DRYRUN".into(), user.as_str().into()];
        arguments.extend(command.iter().map(|word| Value::from(*word)));
        let answer = control.try_call(OPERATION, "ACL", None, arguments).await?;
        // Before Redis 7 there is no dry run.
        let Some(answer) = known(found, answer)? else { return Ok(()) };
        let verdict = text(OPERATION, answer)?;
        // The keys are made up, so only the right to the command counts.
        if verdict.contains("to run the") {
            missing.push(name(command));
        }
    }
    if !missing.is_empty() {
        found.add(
            "missing_rights",
            format!("the user {user:?} may not run {}", missing.join(", ")),
            "allow the user these commands on its streams and their helper keys",
        );
    }
    Ok(())
}

fn warn_of_network(found: &mut Warnings, control: &Connection) {
    let config = control.config();
    let is_local = |host: &str| matches!(host, "localhost" | "::1") || host.starts_with("127.");
    let remote = config.hosts.iter().any(|(host, _)| !is_local(host));
    if remote && config.tls.is_none() && config.credentials().1.is_some() {
        found.add(
            "plain_text",
            "the password and all messages cross the network in plain text",
            "use rediss:// and a server with TLS",
        );
    }
}
