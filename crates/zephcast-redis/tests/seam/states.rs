//! States in which a server takes commands and does not do them: each is outlived, or told with its kind, and nothing is
//! lost.

use std::collections::HashSet;
use std::process::{Command, Stdio};

use futures_util::future::BoxFuture;

use crate::prelude::*;
use crate::traffic::{Traffic, numbers};

/// How soon everything flows again when the server does. Between two attempts the engine waits for about as long as the
/// server was away at most.
const SOON: Duration = Duration::from_secs(3);
/// One way of a server to be of no use.
struct State {
    name: &'static str,
    /// Puts the server there and takes it back; returns when the server has returned.
    happens: for<'a> fn(&'a mut Server, &'a Traffic) -> BoxFuture<'a, ()>,
    /// What publishing may say meanwhile.
    refusals: &'static [ErrorKind],
    /// Whether it must say so: the server refuses, it does not just wait.
    is_told: bool,
}

const STATES: [State; 7] = [
    State {
        name: "CLIENT PAUSE",
        happens: |server, traffic| Box::pin(paused(server, traffic)),
        refusals: &[ErrorKind::Timeout],
        is_told: false,
    },
    State {
        name: "DEBUG SLEEP",
        happens: |server, traffic| Box::pin(asleep(server, traffic)),
        refusals: &[ErrorKind::Timeout],
        is_told: false,
    },
    State {
        name: "DEBUG SLEEP beyond the timeout",
        happens: |server, traffic| Box::pin(long_asleep(server, traffic)),
        refusals: &[ErrorKind::Timeout],
        is_told: true,
    },
    State {
        name: "MISCONF",
        happens: |server, traffic| Box::pin(cannot_save(server, traffic)),
        refusals: &[ErrorKind::Blocked],
        is_told: true,
    },
    State {
        name: "NOREPLICAS",
        happens: |server, traffic| Box::pin(without_replicas(server, traffic)),
        refusals: &[ErrorKind::Blocked],
        is_told: true,
    },
    State {
        name: "BUSY",
        happens: |server, traffic| Box::pin(busy(server, traffic)),
        refusals: &[ErrorKind::Unavailable, ErrorKind::Timeout],
        is_told: true,
    },
    State {
        name: "LOADING",
        happens: |server, traffic| Box::pin(loading(server, traffic)),
        refusals: &[ErrorKind::Unavailable, ErrorKind::Timeout],
        is_told: true,
    },
];

const OPTIONS: [&str; 12] = [
    "--enable-debug-command",
    "local",
    "--busy-reply-threshold",
    "100",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--aof-use-rdb-preamble",
    "no",
    "--loglevel",
    "warning",
];

/// Waits until publishing was refused some times, each after its timeout.
async fn refused(traffic: &Traffic) {
    let before = traffic.account().refused.len();
    traffic.until("refused", |account| account.refused.len() >= before + 2).await;
}

async fn paused(server: &mut Server, _: &Traffic) {
    server.cli(&["CLIENT", "PAUSE", "800", "ALL"]);
    assert_eq!(server.cli(&["PING"]), "PONG");
}

async fn asleep(server: &mut Server, _: &Traffic) {
    assert_eq!(server.cli(&["DEBUG", "SLEEP", "0.6"]), "OK");
}

async fn long_asleep(server: &mut Server, _: &Traffic) {
    assert_eq!(server.cli(&["DEBUG", "SLEEP", "1.5"]), "OK");
}

/// Something stands where the snapshot would be written.
async fn cannot_save(server: &mut Server, traffic: &Traffic) {
    let obstacle = server.directory().join("dump.rdb");
    std::fs::create_dir(&obstacle).expect("made");
    server.cli(&["CONFIG", "SET", "save", "3600 1000000"]);
    save(server, "err").await;
    refused(traffic).await;
    std::fs::remove_dir(&obstacle).expect("removed");
    save(server, "ok").await;
}

/// Has a snapshot taken, which ends so.
async fn save(server: &Server, status: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    server.cli(&["BGSAVE"]);
    loop {
        let info = server.cli(&["INFO", "persistence"]);
        let has = |line: &str| info.lines().any(|shown| shown.trim_end() == line);
        if has("rdb_bgsave_in_progress:0") && has(&format!("rdb_last_bgsave_status:{status}")) {
            return;
        }
        assert!(Instant::now() < until, "no snapshot with {status}: {info}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn without_replicas(server: &mut Server, traffic: &Traffic) {
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    refused(traffic).await;
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
}

async fn busy(server: &mut Server, traffic: &Traffic) {
    let port = server.port.to_string();
    let mut script = Command::new("redis-cli");
    script.args(["-p", &port, "EVAL", "while true do end", "0"]).stdout(Stdio::piped());
    let script = script.spawn().expect("redis-cli is installed");
    refused(traffic).await;
    assert_eq!(server.cli(&["SCRIPT", "KILL"]), "OK");
    let said = script.wait_with_output().expect("it ends").stdout;
    assert!(String::from_utf8_lossy(&said).contains("killed"));
}

/// Killed while it appends to its file always; reading it again takes a while.
async fn loading(server: &mut Server, _: &Traffic) {
    let fill = "for i = 1, 6000 do redis.call('SET', 'filler' .. i, i) end return 'done'";
    assert_eq!(server.cli(&["EVAL", fill, "0"]), "done");
    server.kill();
    server.start(&[&OPTIONS[..], &["--key-load-delay", "100"]].concat());
    let until = Instant::now() + Duration::from_secs(20);
    let mut seen = false;
    while server.cli(&["PING"]) != "PONG" {
        seen |= server.cli(&["PING"]).starts_with("LOADING");
        assert!(Instant::now() < until, "still loading");
    }
    assert!(seen, "it was never loading");
}

async fn outlived(state: State) {
    let State { name, happens, refusals, is_told } = state;
    let mut server = Server::own(&OPTIONS);
    let client = server.config().command_timeout(Duration::from_secs(1)).connect().await;
    let client = client.expect("a connection");
    let stream = unique_stream("states");
    // Short, so that a refusal is told and not waited out.
    let traffic = Traffic::start(&client, &stream, Duration::from_millis(500)).await;
    traffic.flows_after(name, Instant::now()).await;
    happens(&mut server, &traffic).await;
    let back = Instant::now();
    let late = traffic.flows_after(name, back).await;
    assert!(late < SOON, "{name}: {late:?} after the server was back; {}", traffic.summary());
    let account = traffic.nothing_is_lost(name, &HashSet::new()).await;
    assert_eq!(account.ended, None, "{name}");
    let kinds: HashSet<ErrorKind> = account.refused.iter().map(|(kind, _)| *kind).collect();
    assert!(kinds.iter().all(|kind| refusals.contains(kind)), "{name}: {kinds:?}");
    assert!(!is_told || !kinds.is_empty(), "{name} was not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_nothing_for_a_while_is_outlived() {
    for state in STATES {
        outlived(state).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_renamed_takes_its_messages_along_and_nothing_else() {
    let server = Server::own(&[]);
    let client = server.config().connect().await.unwrap();
    let stream = unique_stream("renamed");
    let traffic = Traffic::start(&client, &stream, Duration::from_secs(5)).await;
    traffic.flows_after("at work", Instant::now()).await;
    assert_eq!(server.cli(&["RENAME", stream.as_str(), "elsewhere"]), "OK");
    let renamed = Instant::now();
    let late = traffic.flows_after("after the renaming", renamed).await;
    assert!(late < SOON, "{late:?}; {}", traffic.summary());
    let gone = numbers(&server.cli(&["XRANGE", "elsewhere", "-", "+"]));
    let account = traffic.nothing_is_lost("after the renaming", &gone).await;
    assert!(account.events.iter().any(|event| matches!(event, Event::Recreated)), "{:?}", account.events);
    assert_eq!((account.ended, account.refused.len()), (None, 0));
    assert_eq!(account.repeated(), 0, "what was moved away does not come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_becomes_something_else_is_told_at_once() {
    let server = Server::own(&[]);
    let client = server.config().connect().await.unwrap();
    let stream = unique_stream("replaced");
    let traffic = Traffic::start(&client, &stream, Duration::from_secs(5)).await;
    traffic.flows_after("at work", Instant::now()).await;
    let replace = "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], 'x') return 'done'";
    assert_eq!(server.cli(&["EVAL", replace, "1", stream.as_str()]), "done");
    let replaced = Instant::now();
    let account = traffic.until("told", |account| account.ended.is_some() && !account.refused.is_empty()).await;
    assert!(replaced.elapsed() < SOON, "{:?}", replaced.elapsed());
    assert_eq!(account.ended, Some(ErrorKind::WrongType));
    assert_eq!(account.refused[0], (ErrorKind::WrongType, false));
    drop(traffic);
    // Whoever starts after it is mended has everything from then on.
    server.cli(&["DEL", stream.as_str()]);
    let traffic = Traffic::start(&client, &stream, Duration::from_secs(5)).await;
    traffic.flows_after("mended", Instant::now()).await;
    traffic.nothing_is_lost("mended", &HashSet::new()).await;
}
