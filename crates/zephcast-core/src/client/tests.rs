use async_trait::async_trait;

use super::*;
use crate::driver::{Membership, Sink, Subscription};
use crate::{Broker, Message, Position, PublishError, Retry};

/// Stands behind builders that are looked at, and publishers that publish nothing.
struct Nothing(Capabilities);

#[async_trait]
impl Sink for Nothing {
    async fn publish(&self, _: &[Message]) -> Vec<std::result::Result<Option<Position>, PublishError>> {
        unreachable!()
    }
}

#[async_trait]
impl Driver for Nothing {
    fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    async fn open_sink(&self, _: &StreamName, _: bool) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(Nothing(self.0.clone())))
    }

    async fn join(&self, _: Subscription) -> Result<Membership> {
        unreachable!()
    }

    async fn group_status(&self, _: &StreamName, _: &GroupName) -> Result<GroupStatus> {
        unreachable!()
    }

    fn admin(&self) -> &dyn Admin {
        unreachable!()
    }

    async fn close(&self, _: Duration) -> Result<()> {
        std::future::pending().await
    }
}

pub(crate) fn client() -> Client {
    Client::new(Arc::new(Nothing(Capabilities::least(Broker::Other("nothing")))))
}

/// What the documentation says at the setters, and in `docs/`.
#[test]
fn defaults_are_as_documented() {
    let client = client();
    let (publisher, consumer) = (client.publisher("orders"), client.consumer("orders"));
    let group = client.group("orders", "billing");
    let seconds = Duration::from_secs;
    let consumers = [("consumer", &consumer), ("group", &group.consumer)].map(|(who, builder)| {
        let settings = &builder.settings;
        assert_eq!((builder.lease, settings.drain), (seconds(30), seconds(30)), "lease and drain of a {who}");
        assert_eq!((builder.prefetch, settings.prefetch_bytes), (1_000, 16 << 20), "prefetch of a {who}");
        let mut capabilities = Capabilities::least(Broker::Other("nothing"));
        let flush_count = builder.flush_count(&capabilities);
        assert_eq!((flush_count, settings.flush_after), (512, Duration::from_millis(5)), "flush of a {who}");
        capabilities.counts_prefetch = true;
        assert_eq!(builder.flush_count(&capabilities), 250, "flush of a {who} where the broker counts");
        settings.retry
    });
    for retry in [consumers[0], consumers[1], group.retry, Retry::default()] {
        assert_eq!((retry.attempts(), retry.ceiling(1), retry.ceiling(2)), (5, seconds(1) / 5, seconds(2) / 5));
        assert_eq!(retry.ceiling(u32::MAX), seconds(60));
    }
    assert_eq!((group.members, group.concurrency, group.ordered), (1, 1, false), "members and handlers of a group");
    assert_eq!((publisher.in_flight, publisher.in_flight_bytes), (None, 16 << 20), "window of a publisher");
    assert_eq!(publisher.timeout, seconds(30), "timeout of a publisher");
}

#[tokio::test(start_paused = true)]
async fn closing_ends_at_its_deadline_whatever_the_driver_does() {
    let deadline = Duration::from_secs(2);
    let began = Instant::now();
    let closed = client().close(deadline).await;
    assert_eq!(closed.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(began.elapsed() <= deadline + Duration::from_millis(2), "{:?}", began.elapsed());
}
