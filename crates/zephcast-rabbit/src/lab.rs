//! What tests of a member on a real server share: a group `g` of a stream `s`, and programs of somebody else.

use std::sync::Arc;
use std::time::Duration;

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, ConnectionProperties};
use zephcast_core::GroupStatus;
use zephcast_core::driver::{Credit, Driver, Fetched, Membership, StreamSpec, Subscription};

use crate::member::Member;
use crate::{RabbitConfig, RabbitDriver};

/// The longest that anything awaited here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const NORMAL: Credit = Credit { messages: 10, bytes: 1 << 20, suspect: false };
pub(crate) const SUSPECT: Credit = Credit { suspect: true, ..NORMAL };

pub(crate) struct Lab {
    pub(crate) server: RabbitServer,
    pub(crate) driver: Arc<RabbitDriver>,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// With these settings behind the URL's.
    pub(crate) async fn start_with(settings: &str) -> Self {
        let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
        let config = RabbitConfig::from_url(&format!("{}{settings}", server.url())).unwrap();
        let driver = RabbitDriver::connect(config).await.unwrap();
        Self { server, driver }
    }

    pub(crate) fn subscription() -> Subscription {
        Subscription::new("s".parse().unwrap(), "g".parse().unwrap())
    }

    pub(crate) async fn join(&self) -> Membership {
        self.driver.join(Self::subscription()).await.unwrap()
    }

    /// What the halves of a member share that makes no stream.
    pub(crate) async fn begin(&self) -> Arc<Member> {
        let mut subscription = Self::subscription();
        subscription.create = false;
        Member::begin(self.driver.brokers.clone(), subscription).await.unwrap()
    }

    /// On a connection of its own, which lasts as long as this.
    pub(crate) async fn channel(&self) -> Channel {
        let url = format!("amqp://guest:guest@{}/%2f", self.server.addr());
        let connection = lapin::Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        connection.create_channel().await.unwrap()
    }

    pub(crate) async fn publish(&self, queue: &str) {
        self.publish_large(queue, 1).await;
    }

    pub(crate) async fn publish_large(&self, queue: &str, bytes: usize) {
        let properties = BasicProperties::default().with_message_id("one".into());
        let (options, channel, payload) = (BasicPublishOptions::default(), self.channel().await, vec![b'x'; bytes]);
        channel.basic_publish("".into(), queue.into(), options, &payload, properties).await.unwrap();
        // Answered when it is stored.
        channel.close(200, "".into()).await.unwrap();
    }

    /// A stream and its group, which gets what begins with `a.`.
    pub(crate) fn bound_by_a() -> StreamSpec {
        let mut spec = StreamSpec::new("s".parse().unwrap());
        spec.groups = vec!["g".parse().unwrap()];
        spec.settings.insert("binding".into(), "a.#".into());
        spec
    }

    /// By what the group's queue is bound to its stream.
    pub(crate) async fn bound_by(&self) -> Vec<String> {
        let list = ["list_bindings", "--no-table-headers", "source_name", "routing_key"];
        let listed = self.server.ctl(&list).await.unwrap();
        listed.lines().filter_map(|line| line.strip_prefix("s\t")).map(str::to_owned).collect()
    }

    pub(crate) async fn status(&self) -> GroupStatus {
        self.driver.group_status(&"s".parse().unwrap(), &"g".parse().unwrap()).await.unwrap()
    }

    pub(crate) async fn held_by_members(&self, count: u64) {
        let held = async { while self.status().await.in_flight != Some(count) {} };
        tokio::time::timeout(PATIENCE, held).await.expect("comes in time");
    }

    /// By which connection the one member consumes, as the server names it.
    pub(crate) async fn connection_of_member(&self) -> String {
        let list = ["list_connections", "--no-table-headers", "pid", "client_properties"];
        let listed = self.server.ctl(&list).await.unwrap();
        let mut of_members = listed.lines().filter(|line| line.contains("zephcast member"));
        let (pid, _) = of_members.next().and_then(|line| line.split_once('\t')).expect("a member");
        assert_eq!(of_members.next(), None, "one member");
        pid.to_owned()
    }

    /// The member's connection breaks, and no other.
    pub(crate) async fn break_off(&self) {
        let pid = self.connection_of_member().await;
        self.server.ctl(&["close_connection", &pid, "a test closes it"]).await.unwrap();
    }
}

pub(crate) async fn fetch(member: &mut Membership, credit: Credit) -> Fetched {
    tokio::time::timeout(PATIENCE, member.intake.fetch(credit)).await.unwrap().unwrap()
}

/// Fetches until this comes.
pub(crate) async fn until(member: &mut Membership, credit: Credit, is_it: impl Fn(&Fetched) -> bool) -> Fetched {
    loop {
        let fetched = fetch(member, credit).await;
        if is_it(&fetched) {
            return fetched;
        }
    }
}
