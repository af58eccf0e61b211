//! Leaving while the broker is away.

use rustix::process::Signal;

use super::lab::Lab;

#[tokio::test]
async fn an_unclean_end_is_told_and_fails() {
    for output in ["json", "text"] {
        let mut lab = Lab::own().await;
        let stream = lab.stream();
        lab.fill(&stream, 1).await;
        let arguments = ["consume", &stream, "--group", "g", "--settle", "stdin", "--drain", "1s", "--count", "1"];
        let printing = ["consume", &stream, "--group", "g", "--drain", "1s", "--output", "text"];
        let mut talk = lab.talk(if output == "json" { &arguments } else { &printing });
        match output {
            "json" => drop(talk.until("delivery").await),
            _ => assert_eq!(talk.line().await.as_deref(), Some("m0")),
        }
        lab.server.as_mut().expect("its own").kill9().expect("killed");
        if output == "json" {
            talk.say(r#"{"ack":1}"#).await;
            // An answer to nonsense: the verdict before was heeded.
            talk.say("?").await;
            talk.until("error").await;
        }
        talk.signal(Signal::TERM);
        let (code, heard, stderr) = talk.finish().await;
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("good order") || stderr.contains("unfinished"), "{stderr}");
        if output == "json" {
            assert_eq!(heard.last().expect("a report")["clean"], false, "{heard:?}");
        }
    }
}
