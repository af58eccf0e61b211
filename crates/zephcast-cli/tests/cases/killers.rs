//! `--exec` with a message that kills the consumer: it ends in the dead letters, and no other does.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::lab::{LIMIT, Lab};
use crate::broker;

const KILLER: &str = "m12";
const MESSAGES: usize = 30;
const ATTEMPTS: usize = 3;

#[tokio::test]
async fn a_message_that_kills_its_consumer_is_dead_lettered_alone() {
    handle_all_but_the_killer(&[]).await;
}

#[tokio::test]
async fn what_was_handled_beside_the_killer_is_not_blamed() {
    handle_all_but_the_killer(&["--concurrency", "4"]).await;
}

#[tokio::test]
async fn a_consumer_that_keeps_its_name_takes_up_the_killer_itself() {
    handle_all_but_the_killer(&["--member", "worker"]).await;
}

/// Restarts the consumer, as a supervisor does, until nothing is left to do.
async fn handle_all_but_the_killer(more: &[&str]) {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let all = lab.fill(&stream, MESSAGES).await;
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal");
    // The shell is the consumer's child, so its parent is the consumer. What is begun is written down first.
    let command = format!(
        "message=$(cat); echo $message >> '{}'; if [ $message = {KILLER} ]; then kill -9 $PPID; sleep 0.2; fi",
        journal.display()
    );
    let attempts = ATTEMPTS.to_string();
    let mut arguments = vec!["consume", &stream, "--group", "g", "--exec", &command, "--max-attempts", &attempts];
    arguments.extend(["--lease", "1s", "--idle-exit", "2500ms"]);
    arguments.extend(more);

    let began = Instant::now();
    let mut killed = 0;
    loop {
        let done = lab.run(&arguments, "").await;
        match done.code {
            // No code: a signal ended it.
            -1 => killed += 1,
            0 if is_quiet(&lab, &stream).await => break,
            // It may have left while a dead one's lease ran.
            0 => {}
            _ => panic!("neither killed nor quiet: {done:?}"),
        }
        assert!(began.elapsed() < LIMIT, "never quiet; killed {killed} times");
    }

    let begun = begun(&journal);
    let deaths = ATTEMPTS + usize::from(!broker::FIRST_DEATH_COUNTS);
    assert_eq!(begun.get(KILLER), Some(&deaths), "each attempt began once: {begun:?}");
    assert_eq!(killed, deaths, "and ended the consumer");
    for innocent in all.iter().filter(|message| *message != KILLER) {
        assert!(begun.contains_key(innocent), "{innocent} was never handled: {begun:?}");
    }
    let dead = lab.run(&["dead-letter", "list", &stream, "g"], "").await.of("dead_letter");
    let told: Vec<[&Value; 3]> =
        dead.iter().map(|letter| ["payload", "attempts", "reason"].map(|of| &letter[of])).collect();
    let reason = format!("{ATTEMPTS} attempts; the last ended with the process that made it");
    assert_eq!(told, [[&json!(KILLER), &json!(ATTEMPTS), &json!(reason)]]);
}

/// Whether nothing is left with the group or on its way to it.
async fn is_quiet(lab: &Lab, stream: &str) -> bool {
    let status = &lab.run(&["group", "status", stream, "g", "--window", "0s"], "").await.of("group")[0];
    ["lag", "in_flight", "delayed"].iter().all(|figure| status[*figure] == 0)
}

/// How often each message was begun.
fn begun(journal: &Path) -> BTreeMap<String, usize> {
    let mut begun = BTreeMap::new();
    for message in std::fs::read_to_string(journal).expect("a journal").lines() {
        *begun.entry(message.to_owned()).or_default() += 1;
    }
    begun
}
