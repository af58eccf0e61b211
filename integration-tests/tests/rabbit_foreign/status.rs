//! A look at a group that others consume, too, and what keeps it from being complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use zephcast::rabbit::{Credentials, RabbitConfig};
use zephcast::{Client, Consumer, GroupStatus, MemberStatus};

use super::other::{Other, PATIENCE};

const STREAM: &str = "looked-at";
const GROUP: &str = "all";
const QUEUE: &str = "looked-at.all";

async fn join(client: &Client, prefetch: usize) -> Consumer {
    client.consumer(STREAM).group(GROUP).member("ours").prefetch(prefetch).start().await.expect("joins")
}

async fn look(client: &Client) -> GroupStatus {
    client.group_status(STREAM, GROUP).await.expect("a status")
}

/// The management API is a moment behind.
async fn look_until(client: &Client, is_it: impl Fn(&GroupStatus) -> bool) -> GroupStatus {
    let mut last = None;
    let came = async {
        loop {
            let status = look(client).await;
            if is_it(&status) {
                return status;
            }
            last = Some(status);
        }
    };
    tokio::time::timeout(PATIENCE, came).await.unwrap_or_else(|_| panic!("still {last:?}"))
}

fn shown(member: &MemberStatus) -> (&str, Option<u32>) {
    (member.name.as_str(), member.prefetch)
}

fn kinds(status: &GroupStatus) -> Vec<&'static str> {
    status.warnings.iter().map(|warning| warning.kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybodys_prefetch_is_shown() {
    let other = Other::begin().await;
    let client = zephcast::connect(&other.server.url()).await.expect("connects");
    let member = join(&client, 3).await;
    let status = look(&client).await;
    assert_eq!(status.members.iter().map(shown).collect::<Vec<_>>(), [("ours", Some(3))], "{status:?}");
    assert_eq!(kinds(&status), [""; 0], "{status:?}");

    let theirs = other.consume_at_most(7, QUEUE).await;
    let tag = theirs.tag().to_string();
    let status = look_until(&client, |status| status.members.len() == 2 && status.lag.is_some()).await;
    assert_eq!(status.members.iter().map(shown).collect::<Vec<_>>(), [("ours", Some(3)), (&*tag, Some(7))]);
    assert_eq!(kinds(&status), [""; 0], "{status:?}");
    other.cancel(theirs).await;

    let greedy = other.consume_at_most(0, QUEUE).await;
    let is_greedy = |member: &&MemberStatus| member.name.as_str() == greedy.tag().as_str();
    let status = look_until(&client, |status| status.members.iter().any(|member| is_greedy(&member))).await;
    let found = status.members.iter().find(is_greedy).map(|member| member.prefetch);
    assert_eq!(found, Some(None), "there is no limit: {status:?}");
    member.close(PATIENCE).await.expect("leaves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_management_that_cannot_be_asked_is_told_where_it_is_missed_or_named() {
    let other = Other::begin().await;
    let amqp = format!("amqp://guest:guest@{}/%2f", other.server.addr());
    let client = zephcast::connect(&amqp).await.expect("connects");
    let member = join(&client, 3).await;
    let status = look(&client).await;
    assert_eq!(
        (status.lag, kinds(&status)),
        (Some(0), Vec::new()),
        "nobody named one, and nothing is missing: {status:?}"
    );

    let theirs = other.consume_at_most(7, QUEUE).await;
    let nobody = "127.0.0.1:1".to_owned();
    let no_api = other.server.addr().to_string();
    for place in [&nobody, &no_api] {
        let client = zephcast::connect(&format!("{amqp}?management=http://{place}")).await.expect("connects");
        let status = look(&client).await;
        assert_eq!((status.lag, kinds(&status)), (None, vec!["no_management"]), "{status:?}");
        let warning = &status.warnings[0];
        assert!(warning.message.contains(place.as_str()), "{warning:?}");
        assert!(warning.advice.contains("`management=http://HOST:15672`"), "{warning:?}");
    }
    // What answers where one usually is, if anything, is no management of this server.
    let status = look(&client).await;
    assert_eq!((status.lag, kinds(&status)), (None, vec!["no_management"]), "{status:?}");
    assert!(status.warnings[0].advice.contains("`management=http"), "{status:?}");

    other.cancel(theirs).await;
    let client = zephcast::connect(&format!("{amqp}?management=http://{nobody}")).await.expect("connects");
    let status = look(&client).await;
    assert_eq!((status.lag, kinds(&status)), (Some(0), vec!["no_management"]), "whoever named it is told: {status:?}");
    member.close(PATIENCE).await.expect("leaves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_management_of_another_broker_is_found_out() {
    let (other, stranger) = tokio::join!(Other::begin(), Other::begin());
    let (address, elsewhere) = (other.server.addr(), stranger.server.management_addr());
    let url = format!("amqp://guest:guest@{address}/%2f?management=http://{elsewhere}");
    let client = zephcast::connect(&url).await.expect("connects");
    let member = join(&client, 3).await;
    let status = look(&client).await;
    assert_eq!((status.lag, kinds(&status)), (Some(0), vec!["no_management"]), "{status:?}");
    let message = &status.warnings[0].message;
    assert!(message.contains(QUEUE) && message.contains(&elsewhere.to_string()), "{message}");
    member.close(PATIENCE).await.expect("leaves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_provides_credentials_provides_them_to_the_management_too() {
    let other = Other::begin().await;
    let url = format!("amqp://{}/%2f?management=http://{}", other.server.addr(), other.server.management_addr());
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let provider = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(("guest".to_owned(), "guest".into()))
    };
    let config = RabbitConfig::from_url(&url).expect("a URL").credentials(Credentials::Provider(Arc::new(provider)));
    let client = config.connect().await.expect("connects");
    let before = asked.load(Ordering::Relaxed);
    let streams = client.admin().streams().await.expect("management answers");
    assert_eq!(streams.len(), 0, "{streams:?}");
    assert!(asked.load(Ordering::Relaxed) > before, "it was asked");
}
