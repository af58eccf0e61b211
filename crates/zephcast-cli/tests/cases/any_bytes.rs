//! Keys and headers of any length and any bytes, as not every broker has them.

use serde_json::json;

use super::lab::Lab;

#[tokio::test]
async fn what_consume_writes_can_be_published() {
    let lab = Lab::start().await;
    let (from, to) = (lab.stream(), lab.stream());
    let record = concat!(
        r#"{"payload_base64":"/wA=","key_base64":"/w==","id_base64":"/g==","#,
        r#""headers":{"h":["1","2"],"b":{"base64":"/w=="}},"headers_binary":[{"name_base64":"/g==","value_base64":"dg=="}]}"#
    );
    let published = lab.run(&["publish", &from, "--create", "--jsonl"], record).await;
    assert_eq!(published.code, 0, "{published:?}");
    let seen = lab.run(&["consume", &from, "--group", "g", "--count", "1"], "").await;
    let line = seen.stdout.lines().find(|line| line.contains("\"delivery\"")).expect("a delivery").to_owned();
    let done = lab.run(&["publish", &to, "--create", "--jsonl"], line).await;
    assert_eq!(done.code, 0, "{done:?}");
    let copy = lab.run(&["consume", &to, "--group", "g", "--count", "1"], "").await;
    for key in ["payload_base64", "key_base64", "id_base64", "headers", "headers_binary"] {
        assert!(!seen.of("delivery")[0][key].is_null(), "{key}");
        assert_eq!(copy.of("delivery")[0][key], seen.of("delivery")[0][key], "{key}");
    }
}

#[tokio::test]
async fn what_no_environment_can_hold_is_left_out_and_the_message_is_not_at_fault() {
    let lab = Lab::start().await;
    let stream = lab.stream();
    let long = "x".repeat(200 * 1024);
    let record = json!({"payload": "p", "key": long, "headers": {"long": long, "short": "s"}}).to_string();
    assert_eq!(lab.run(&["publish", &stream, "--create", "--jsonl"], record).await.code, 0);
    let script = r#"test -z "$ZEPHCAST_KEY$ZEPHCAST_HEADER_LONG" && test "$ZEPHCAST_HEADER_SHORT" = s"#;
    let arguments = ["consume", &stream, "--group", "g", "--exec", script, "--max-attempts", "1", "--count", "1"];
    let done = lab.run(&arguments, "").await;
    assert_eq!((done.code, &done.of("report")[0]["acked"]), (0, &json!(1)), "{}", done.stderr);
}
