//! Streams, groups, dead letters, a look at the broker.

use zephcast_core::driver::{Driver, Redrive, StreamSpec};
use zephcast_core::{ErrorKind, GroupName, Message, PublishError, StreamName};

use crate::lab::{Lab, Member, dead, group, lab, payloads, position, stream};

fn spec(partitions: Option<u32>) -> StreamSpec {
    let mut spec = StreamSpec::new(stream());
    spec.partitions = partitions;
    spec
}

#[tokio::test(start_paused = true)]
async fn creating_alike_is_fine_and_otherwise_names_the_difference() {
    let lab = lab(12);
    let mut first = spec(Some(3));
    first.groups = vec![group()];
    lab.admin().create_stream(&first).await.unwrap();
    lab.admin().create_stream(&first).await.unwrap();
    lab.admin().create_stream(&spec(None)).await.unwrap();
    let error = lab.admin().create_stream(&spec(Some(4))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("partitions 3, not 4"), "{error}");
    let mut larger = spec(None);
    larger.settings.insert("retention-bytes".into(), "5".into());
    let error = lab.admin().create_stream(&larger).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("retention-bytes"), "{error}");
    let status = lab.admin().stream(&stream()).await.unwrap();
    assert_eq!((status.units.len(), status.groups, status.depth), (3, Some(vec![group()]), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn impossible_settings_are_refused_and_make_no_stream() {
    let lab = lab(12);
    let mut unknown = spec(None);
    unknown.settings.insert("retention".into(), "5".into());
    let mut unreadable = spec(None);
    unreadable.settings.insert("retention-bytes".into(), "much".into());
    for bad in [spec(Some(0)), spec(Some(5_000)), unknown, unreadable] {
        assert_eq!(lab.admin().create_stream(&bad).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
    }
    assert!(lab.admin().streams().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stream_is_gone_for_everyone_who_uses_it() {
    let lab = lab(1);
    let mut a = lab.join("a").await;
    a.assigned().await;
    let sink = lab.sink().await;
    let waiting = tokio::spawn(async move { a.fails().await });
    tokio::task::yield_now().await;
    lab.admin().delete_stream(&stream()).await.unwrap();
    assert_eq!(waiting.await.unwrap().kind(), ErrorKind::NotFound);
    let result = sink.publish(&[Message::new("x")]).await.remove(0);
    assert!(matches!(&result, Err(PublishError::Failed(error)) if error.kind() == ErrorKind::NotFound), "{result:?}");
    assert_eq!(lab.admin().delete_stream(&stream()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lab.admin().stream(&stream()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn streams_are_listed_by_name() {
    let lab = lab(1);
    for name in ["b", "a"] {
        lab.driver.open_sink(&StreamName::new(name).unwrap(), true).await.unwrap();
    }
    let names: Vec<_> = lab.admin().streams().await.unwrap().iter().map(|s| s.stream.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
}

/// A member that has dead-lettered these.
async fn with_dead_letters<const N: usize>(lab: &Lab, payloads: [&'static str; N]) -> Member {
    lab.publish(payloads).await;
    let mut a = lab.join("a").await;
    a.assigned().await;
    for message in &a.batch().await.messages {
        a.dispose(0, message.token, dead(message)).await.unwrap();
    }
    a
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_listed_in_pages() {
    let lab = lab(1);
    with_dead_letters(&lab, ["x", "y", "z"]).await;
    let first = lab.admin().dead_letters(&stream(), &group(), None, 2).await.unwrap();
    assert_eq!(first.iter().map(|l| l.message.payload_str().unwrap()).collect::<Vec<_>>(), ["x", "y"]);
    let rest = lab.admin().dead_letters(&stream(), &group(), Some(first[1].position), 2).await.unwrap();
    assert_eq!(rest.iter().map(|l| l.message.payload_str().unwrap()).collect::<Vec<_>>(), ["z"]);
}

#[tokio::test(start_paused = true)]
async fn a_redriven_letter_comes_to_its_group_only_with_fresh_attempts() {
    let lab = lab(1);
    let mut a = with_dead_letters(&lab, ["x", "y"]).await;
    let mut audit = lab.start_at("audit", zephcast_core::Start::Latest).await.unwrap();
    audit.assigned().await;
    let letters = lab.admin().dead_letters(&stream(), &group(), None, 10).await.unwrap();
    for expected in [Redrive::Redriven, Redrive::Gone] {
        assert_eq!(lab.admin().redrive(&stream(), &group(), letters[1].position).await.unwrap(), expected);
    }
    let status = lab.status().await;
    assert_eq!((status.lag, status.dead_letters), (Some(1), Some(1)));
    let batch = a.batch().await;
    assert_eq!((payloads(&batch), batch.messages[0].attempt), (vec!["y"], 1));
    assert!(batch.messages[0].published_ms.is_some());
    audit.quiet().await;
    // It can fail again.
    a.dispose(0, batch.messages[0].token, dead(&batch.messages[0])).await.unwrap();
    assert_eq!(lab.admin().purge_dead_letters(&stream(), &group()).await.unwrap(), 2);
    assert_eq!(lab.admin().purge_dead_letters(&stream(), &group()).await.unwrap(), 0);
    assert_eq!(lab.admin().redrive(&stream(), &group(), position(0, 0)).await.unwrap(), Redrive::Gone);
    assert_eq!(lab.status().await.lag, Some(0));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_need_a_group() {
    let lab = lab(1);
    lab.sink().await;
    let nobody = GroupName::new("nobody").unwrap();
    let error = lab.admin().dead_letters(&stream(), &nobody, None, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(lab.admin().purge_dead_letters(&stream(), &nobody).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_check_says_that_nothing_is_durable() {
    let check = lab(1).admin().check().await.unwrap();
    assert_eq!(check.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(check.warnings.iter().map(|warning| warning.kind).collect::<Vec<_>>(), ["not_durable"]);
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_does_nothing_more() {
    let lab = lab(1);
    let sink = lab.sink().await;
    for _ in 0..2 {
        lab.driver.close(std::time::Duration::ZERO).await.unwrap();
    }
    assert_eq!(lab.join_as(crate::lab::subscription("a")).await.err().unwrap().kind(), ErrorKind::Closed);
    assert_eq!(lab.admin().streams().await.unwrap_err().kind(), ErrorKind::Closed);
    let result = sink.publish(&[Message::new("x")]).await.remove(0);
    assert!(matches!(&result, Err(PublishError::Failed(error)) if error.kind() == ErrorKind::Closed), "{result:?}");
}
