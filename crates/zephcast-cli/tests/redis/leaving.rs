//! What a member leaves behind.

use crate::lab::Lab;

#[tokio::test]
async fn whoever_left_is_forgotten_at_once_however_soon_it_left() {
    let lab = Lab::own().await;
    let stream = lab.stream();
    lab.fill(&stream, 3).await;
    let members = format!("{{{stream}}}.g.members");
    for _ in 0..20 {
        // The end of stdin is the wish to leave: it comes while the first renewal is on its way.
        let done = lab.run(&["consume", &stream, "--group", "g", "--settle", "stdin"], "").await;
        assert_eq!(done.code, 0, "{done:?}");
        let fields = lab.server.as_ref().expect("its own").cli(&["HKEYS", &members]).await.expect("an answer");
        assert_eq!(fields.trim(), "/start", "a renewal brought a member back that had left");
    }
}
