//! Members in processes of their own, killed and frozen with as much in their hands as they may have.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use integration_tests::rabbit_server::RabbitServer;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::Instant;
use zephcast::Consumer;

use super::lab::{self, GROUP, LEASE, PATIENCE};

const PREFETCH: usize = 200;
const MESSAGES: u32 = 1_000;
/// Handled by a member that dies, and printed.
const BEFORE: usize = 100;
/// What the program dies of.
const DEADLY: &str = "abort";

/// A member that acks what it has printed.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn start(server: &RabbitServer, stream: &str) -> Self {
        let lease = LEASE.as_millis().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_member"))
            .args([&server.url(), stream, GROUP, &lease, &PREFETCH.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        lines.next_line().await.expect("reads").expect("its name");
        Self { child, lines }
    }

    async fn next(&mut self) -> Option<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("prints or ends in time").expect("reads")
    }

    /// What it has handled when it has handled so many.
    async fn handled(&mut self, count: usize) -> BTreeSet<u32> {
        let mut handled = BTreeSet::new();
        while handled.len() < count {
            handled.insert(self.next().await.expect("lives").parse().expect("a number"));
        }
        handled
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("it runs");
        kill_process(pid, signal).expect("a signal to our own process");
    }
}

/// Handles whatever is left, and says how many came again that had been handled.
async fn handle_rest(consumer: &mut Consumer, mut missing: BTreeSet<u32>) -> usize {
    let mut again = 0;
    while !missing.is_empty() {
        let delivery = lab::next(consumer).await;
        again += usize::from(!missing.remove(&lab::number(&delivery)));
        delivery.ack().expect("is ours");
    }
    consumer.commit().await.expect("is settled");
    again
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_member_held_is_handled_soon() {
    const STREAM: &str = "killed";
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    let mut consumer = lab::join(&client, STREAM, PREFETCH).await;
    consumer.close(Duration::from_secs(5)).await.expect("leaves, and its group stays");
    lab::publish(&client, STREAM, 0..MESSAGES).await;
    let mut process = Process::start(&server, STREAM).await;
    let mut handled = process.handled(BEFORE).await;
    process.signal(Signal::KILL);
    let begin = Instant::now();
    while let Some(line) = process.next().await {
        handled.insert(line.parse().expect("a number"));
    }
    consumer = lab::join(&client, STREAM, PREFETCH).await;
    let again = handle_rest(&mut consumer, (0..MESSAGES).filter(|number| !handled.contains(number)).collect()).await;
    let took = begin.elapsed();
    println!("{} handled before, {again} again, all others within {took:?}", handled.len());
    // Beside its window it may have all with which it began, before it knew how large messages are.
    let most = PREFETCH + 16;
    assert!(again <= most, "{again} came again, and {most} were in flight at most");
    assert!(took < Duration::from_secs(15), "{took:?}");
    let suspects = lab::suspects(&server, STREAM).await as usize;
    assert!((1..=most).contains(&suspects), "{suspects} were suspected of its death");
    consumer.close(Duration::from_secs(5)).await.expect("leaves");
    lab::left(&server, STREAM, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_frozen_member_held_goes_to_others_and_it_comes_back() {
    const STREAM: &str = "frozen";
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    lab::join(&client, STREAM, 1).await.close(Duration::from_secs(5)).await.expect("leaves, and its group stays");
    lab::publish(&client, STREAM, 0..MESSAGES).await;
    let mut process = Process::start(&server, STREAM).await;
    let handled = process.handled(BEFORE).await;
    process.signal(Signal::STOP);
    let begin = Instant::now();
    let mut consumer = lab::join(&client, STREAM, PREFETCH).await;
    // What it had printed beyond these may come again; what it has printed and is not read stays in the pipe.
    let missing: BTreeSet<u32> = (0..MESSAGES).filter(|number| !handled.contains(number)).collect();
    let until = Instant::now() + LEASE * 2;
    let mut rest = missing.clone();
    // What it had acked beyond what was read never comes.
    while let Ok(next) = tokio::time::timeout_at(until, consumer.next()).await {
        let delivery = next.expect("no end").expect("no permanent error");
        rest.remove(&lab::number(&delivery));
        delivery.ack().expect("is ours");
    }
    consumer.close(Duration::from_secs(5)).await.expect("leaves");
    println!("{} not seen by others after {:?}", rest.len(), begin.elapsed());
    process.signal(Signal::CONT);
    lab::publish(&client, STREAM, MESSAGES..MESSAGES + 1).await;
    loop {
        let number: u32 = process.next().await.expect("lives").parse().expect("a number");
        if number == MESSAGES {
            break;
        }
        rest.remove(&number);
    }
    assert!(rest.is_empty(), "lost: {rest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killer_goes_to_the_dead_letters_alone() {
    const STREAM: &str = "killer";
    const INNOCENT: u32 = 400;
    let server = lab::shared().await;
    let client = lab::connect(&server).await;
    lab::join(&client, STREAM, 1).await.close(Duration::from_secs(5)).await.expect("leaves, and its group stays");
    lab::publish(&client, STREAM, 0..INNOCENT / 2).await;
    client.publisher(STREAM).await.expect("opens").publish(DEADLY).await.expect("is stored");
    lab::publish(&client, STREAM, INNOCENT / 2..INNOCENT).await;
    let begin = Instant::now();
    let mut missing: BTreeSet<u32> = (0..INNOCENT).collect();
    let (mut deaths, mut again) = (0, 0);
    'dead: loop {
        let mut process = Process::start(&server, STREAM).await;
        loop {
            let idle = tokio::time::timeout(Duration::from_secs(3), process.lines.next_line()).await;
            match idle {
                Ok(line) => match line.expect("reads") {
                    Some(line) => again += usize::from(!missing.remove(&line.parse().expect("a number"))),
                    None => break,
                },
                Err(_) if missing.is_empty() => break 'dead,
                Err(_) => panic!("nothing comes, and these are missing after {deaths} deaths: {missing:?}"),
            }
        }
        deaths += 1;
        assert!(deaths < 10, "it kills for ever");
    }
    println!("{deaths} deaths, {again} came again, over after {:?}", begin.elapsed());
    lab::left(&server, STREAM, &[format!("{STREAM}.{GROUP}.dead\t1")]).await;
    assert!(again <= PREFETCH, "{again} came again");
}
