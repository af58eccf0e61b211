//! What else there is in a Redis: fields, keys and entries of other programs, and what is not to be touched.

use rustix::process::Signal;
use serde_json::json;

use crate::lab::Lab;

fn browse<'a>(stream: &'a str, idle: &'a str) -> [&'a str; 8] {
    ["consume", stream, "--group", "g", "--settle", "none", "--idle-exit", idle]
}

#[tokio::test]
async fn bytes_that_are_no_text_come_in_base64() {
    let lab = Lab::own().await;
    let stream = lab.stream();
    let server = lab.server.as_ref().expect("its own");
    // redis-cli reads `\xff` in quotes as a byte only from its input, so the bytes are made by a script.
    let script =
        "return redis.call('XADD', KEYS[1], '*', 'data', '\\255\\0', 'text', 'v', 'raw', '\\254', '\\253', 'w')";
    server.cli(&["EVAL", script, "1", &stream]).await.expect("an entry");
    let done = lab.run(&["consume", &stream, "--group", "g", "--count", "1"], "").await;
    let delivery = &done.of("delivery")[0];
    assert_eq!(delivery["payload_base64"], "/wA=");
    assert_eq!(delivery["id"], json!(null));
    assert_eq!(delivery["key"], json!(null));
    assert_eq!(delivery["headers"], json!({"text": "v", "raw": {"base64": "/g=="}}));
    assert_eq!(delivery["headers_binary"], json!([{"name_base64": "/Q==", "value_base64": "dw=="}]));
}

#[tokio::test]
async fn nothing_at_the_server_changes() {
    let lab = Lab::own().await;
    let stream = lab.stream();
    let lines = lab.fill(&stream, 10).await;
    lab.run(&["consume", &stream, "--group", "g", "--count", "2"], "").await;
    // Leaves three pending entries behind, with their counts and times.
    let mut dead = lab.talk(&["consume", &stream, "--group", "g", "--settle", "stdin", "--prefetch", "3"]);
    for _ in 0..3 {
        dead.until("delivery").await;
    }
    dead.signal(Signal::KILL);
    dead.finish().await;
    let server = lab.server.as_ref().expect("its own");
    let look = async || {
        let entries = server.cli(&["XINFO", "STREAM", &stream, "FULL", "COUNT", "0"]).await.expect("its facts");
        let mut keys: Vec<String> =
            server.cli(&["KEYS", "*"]).await.expect("keys").lines().map(str::to_owned).collect();
        keys.sort_unstable();
        (entries, keys)
    };
    let before = look().await;
    assert!(before.0.contains("pel-count") && before.1.len() > 1, "there is something to change: {before:?}");
    let done = lab.run(&browse(&stream, "600ms"), "").await;
    assert_eq!((done.code, done.payloads()), (0, lines));
    assert_eq!(look().await, before);
}

#[tokio::test]
async fn entries_of_other_programs_are_shown_as_they_are() {
    let lab = Lab::own().await;
    let stream = lab.stream();
    let server = lab.server.as_ref().expect("its own");
    // The sequence of the first one is beyond what Redis hands out by itself.
    for entry in [["5-9223372036854775809", "text", "v"], ["6-0", "data", "body"]] {
        server.cli(&[&["XADD", &stream][..], &entry].concat()).await.expect("an entry");
    }
    let done = lab.run(&browse(&stream, "300ms"), "").await;
    let shown = done.of("delivery");
    assert_eq!(shown.len(), 2, "{done:?}");
    assert_eq!(
        (&shown[0]["position"], &shown[0]["payload"], &shown[0]["headers"]),
        (&json!("5-9223372036854775809"), &json!(null), &json!({"text": "v"}))
    );
    assert_eq!((&shown[1]["payload"], &shown[1]["id"]), (&json!("body"), &json!(null)));
}
