//! On a real server: the same settlement twice is one, what is lost is told once, and what nobody has read is not settled.

use std::collections::BTreeSet;
use std::time::Duration;

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ConnectionProperties};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zephcast_core::driver::{Credit, Driver, Failure, Fetched, Incoming, Membership, Subscription};
use zephcast_core::{Event, Message, MessageId, Position, PositionStyle};

use super::*;
use crate::connection::Connection;
use crate::errand::Errand;
use crate::member::UNIT;
use crate::{RabbitConfig, RabbitDriver, topology};

mod suspects;

/// A message that is too large once the server [takes less](Lab::take_less).
const LARGE: usize = 1_500_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// A member of the group `g` of a stream, and whoever publishes there.
struct Lab {
    server: RabbitServer,
    config: RabbitConfig,
    member: Membership,
}

impl Lab {
    /// With so many messages, and room for some of them at a time.
    async fn start(messages: usize, prefetch: usize) -> Self {
        Self::start_with(messages, prefetch, "").await
    }

    /// With these settings behind the URL's.
    async fn start_with(messages: usize, prefetch: usize, settings: &str) -> Self {
        let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
        let config = RabbitConfig::from_url(&format!("{}{settings}", server.url())).unwrap();
        let driver = RabbitDriver::connect(config.clone()).await.unwrap();
        let stream: zephcast_core::StreamName = "s".parse().unwrap();
        let mut subscription = Subscription::new(stream.clone(), "g".parse().unwrap());
        subscription.prefetch = prefetch;
        subscription.lease = config.consumer_timeout.unwrap_or(subscription.lease).min(subscription.lease);
        let member = driver.join(subscription).await.unwrap();
        let sink = driver.open_sink(&stream, false).await.unwrap();
        let numbered = |number: usize| Message::new("x").with_id(MessageId::new(number.to_string()));
        let messages: Vec<Message> = (0..messages).map(numbered).collect();
        assert!(sink.publish(&messages).await.iter().all(Result::is_ok));
        Self { server, config, member }
    }

    async fn fetch(&mut self) -> Fetched {
        let credit = Credit { messages: 10, bytes: 1 << 20, suspect: false };
        tokio::time::timeout(PATIENCE, self.member.intake.fetch(credit)).await.unwrap().unwrap()
    }

    async fn take(&mut self, count: usize) -> Vec<Incoming> {
        let mut taken = Vec::new();
        while taken.len() < count {
            if let Fetched::Batch(batch) = self.fetch().await {
                taken.extend(batch.messages);
            }
        }
        taken
    }

    async fn settle(&self, settlement: Settlement) -> Result<Lost> {
        self.member.settler.settle(&settlement).await
    }

    /// How many dead letters there are.
    async fn dead(&self) -> u64 {
        self.ready("s.g.dead").await
    }

    async fn has_dead(&self, count: u64) {
        let come = async { while self.dead().await != count {} };
        tokio::time::timeout(PATIENCE, come).await.expect("come in time");
    }

    async fn ready(&self, queue: &str) -> u64 {
        let control = Connection::new(Arc::new(self.config.clone()), "test");
        topology::queue(&control, "test", queue).await.unwrap().map_or(0, |(ready, _)| ready)
    }

    /// From now on the server takes a little more than a mebibyte, at least by each channel that is opened.
    async fn take_less(&self) {
        // Later versions look at a term of their own, for all channels.
        let less = "ok = application:set_env(rabbit, max_message_size, 1200000), \
                    ok = persistent_term:put(max_message_size, 1200000).";
        self.server.ctl(&["eval", less]).await.unwrap();
    }

    /// Puts one with the suspects that nobody tried.
    async fn publish_suspect(&self, payload: &[u8]) {
        self.publish("s.g.suspects", payload).await;
    }

    /// Puts one in a queue.
    async fn publish(&self, queue: &str, payload: &[u8]) {
        let url = format!("amqp://guest:guest@{}/%2f", self.server.addr());
        let connection = lapin::Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), queue.into(), options, payload, <_>::default()).await.unwrap();
        // Answered when it is stored.
        channel.close(200, "".into()).await.unwrap();
    }

    /// The member never says another word, and one of another client takes its place.
    async fn die(&mut self) {
        self.server.close_all_connections().await.unwrap();
        let driver = RabbitDriver::connect(self.config.clone()).await.unwrap();
        let subscription = Subscription::new("s".parse().unwrap(), "g".parse().unwrap());
        self.member = driver.join(subscription).await.unwrap();
    }

    /// Takes a suspect.
    async fn suspect(&mut self) -> Incoming {
        suspect_of(&mut self.member).await
    }

    /// Takes suspects back as soon as they are overdue, for which the server takes no copy now; their copies are on their way.
    async fn sends_back_in_vain(&mut self) -> JoinHandle<Lost> {
        self.server.raise_memory_alarm().await.unwrap();
        let settler = self.member.settler.clone();
        let taken_back = tokio::spawn(async move { take_back(&settler).await });
        self.hears(|fetched| matches!(fetched, Fetched::Event(Event::Blocked(_)))).await;
        taken_back
    }

    /// Fetches until this is told.
    async fn hears(&mut self, is_it: impl Fn(&Fetched) -> bool) -> Fetched {
        loop {
            let fetched = self.fetch().await;
            if is_it(&fetched) {
                return fetched;
            }
        }
    }
}

/// A queue of hints that takes none.
async fn spoil_hints(config: &RabbitConfig) {
    let control = Connection::new(Arc::new(config.clone()), "test");
    let errand = Errand::begin(&control, "test").await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    errand.call(errand.channel().queue_declare("s.g.hints".into(), options, arguments)).await.unwrap();
    let options = BasicPublishOptions::default();
    let published =
        errand.channel().basic_publish("".into(), "s.g.hints".into(), options, b"", BasicProperties::default());
    errand.call(published).await.unwrap();
    // Answered when it is there.
    errand.end().await.unwrap();
}

async fn suspect_of(member: &mut Membership) -> Incoming {
    let credit = Credit { messages: 10, bytes: 1 << 20, suspect: true };
    let taken = async {
        loop {
            if let Fetched::Batch(batch) = member.intake.fetch(credit).await.unwrap() {
                return batch.messages.into_iter().next().unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("comes in time")
}

async fn take_back(settler: &Arc<dyn Settler>) -> Lost {
    let taken_back = async {
        loop {
            let lost = settler.renew(Renewal::default()).await.unwrap();
            if !lost.is_empty() {
                return lost;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_back).await.expect("is taken back in time")
}

fn settlement(unit: UnitSettlements) -> Settlement {
    Settlement { again: false, units: vec![unit] }
}

fn acked(incoming: &Incoming) -> Settlement {
    settlement(UnitSettlements { acked: vec![incoming.token], ..UnitSettlements::new(unit(incoming)) })
}

fn unit(incoming: &Incoming) -> UnitId {
    if incoming.suspect { SUSPECTS } else { UNIT }
}

fn kept(incoming: &Incoming, attempts: u32) -> Settlement {
    let others = vec![(incoming.token, Disposition::Keep { attempts })];
    settlement(UnitSettlements { others, ..UnitSettlements::new(unit(incoming)) })
}

fn later(incoming: &Incoming) -> Settlement {
    let disposition = Disposition::Later {
        delay: Duration::from_secs(60),
        attempts: 1,
        message: Box::new(incoming.message.clone()),
        origin: Position::new(PositionStyle::Tag, UNIT, incoming.token),
        published_ms: incoming.published_ms,
        first_failed_ms: None,
    };
    settlement(UnitSettlements { others: vec![(incoming.token, disposition)], ..UnitSettlements::new(unit(incoming)) })
}

fn returned(incoming: &Incoming) -> Settlement {
    let others = vec![(incoming.token, Disposition::Return { attempts: 0 })];
    settlement(UnitSettlements { others, ..UnitSettlements::new(UNIT) })
}

fn dead(incoming: &Incoming) -> Settlement {
    let failure = Failure { reason: "no".into(), first_failed_ms: 1, last_failed_ms: 2 };
    let disposition = Disposition::Dead {
        message: Box::new(incoming.message.clone()),
        origin: Position::new(PositionStyle::Tag, UNIT, incoming.token),
        published_ms: incoming.published_ms,
        attempts: 1,
        failure,
    };
    let others = vec![(incoming.token, disposition)];
    settlement(UnitSettlements { others, ..UnitSettlements::new(unit(incoming)) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_again_after_an_answer_that_was_lost_is_not_copied_again() {
    let mut lab = Lab::start(1, 10).await;
    let taken = lab.take(1).await;
    assert_eq!(lab.settle(dead(&taken[0])).await.unwrap(), []);
    assert_eq!(lab.settle(Settlement { again: true, ..dead(&taken[0]) }).await.unwrap(), []);
    assert_eq!(lab.dead().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_that_cannot_be_written_hold_up_no_dead_letter() {
    let mut lab = Lab::start(3, 10).await;
    spoil_hints(&lab.config).await;
    let taken = lab.take(3).await;
    let [kept, back, dead] = [kept(&taken[0], 1), returned(&taken[1]), dead(&taken[2])]
        .map(|mut settlement| settlement.units.remove(0).others);
    let others = [kept, back, dead].concat();
    let together = settlement(UnitSettlements { others, ..UnitSettlements::new(UNIT) });
    assert_eq!(lab.settle(together).await.unwrap(), []);
    assert_eq!(lab.dead().await, 1);
    assert_eq!(lab.ready("s.g.hints").await, 1, "no hint was taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_lost_with_its_channel_is_told_by_the_next_commit_alone() {
    let mut lab = Lab::start(1, 10).await;
    let taken = lab.take(1).await;
    assert_eq!(lab.settle(acked(&taken[0])).await.unwrap(), []);
    lab.server.close_all_connections().await.unwrap();
    let unknown = Undurable { unknown: vec![UNIT, SUSPECTS], ..Undurable::default() };
    assert_eq!(lab.member.settler.commit().await.unwrap(), unknown);
    assert_eq!(lab.member.settler.commit().await.unwrap(), Undurable::default());
    while !matches!(lab.fetch().await, Fetched::Lost(_)) {}
    while !matches!(lab.fetch().await, Fetched::Assigned(_)) {}
    assert_eq!(
        lab.member.settler.commit().await.unwrap(),
        Undurable::default(),
        "the end of the session tells it no more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_by_a_connection_that_broke_is_lost_whether_or_not_anything_is_fetched() {
    let mut lab = Lab::start(2, 10).await;
    let taken = lab.take(2).await;
    assert_eq!(lab.settle(acked(&taken[0])).await.unwrap(), []);
    lab.server.close_all_connections().await.unwrap();
    let told = async {
        loop {
            match lab.settle(dead(&taken[1])).await {
                Ok(lost) => return lost,
                // Until it is known that the connection broke.
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    };
    let lost = tokio::time::timeout(PATIENCE, told).await.expect("is told in time");
    assert_eq!(lost, [(UNIT, taken[1].token)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_unread_before_that_which_passed_through_the_log_is_held() {
    let mut lab = Lab::start(4, 2).await;
    let taken = lab.take(2).await;
    // One more comes in its place, and nobody reads it.
    assert_eq!(lab.settle(acked(&taken[0])).await.unwrap(), []);
    // The last one comes with what passes through the log.
    assert_eq!(lab.settle(kept(&taken[1], 1)).await.unwrap(), []);
    assert_eq!(lab.settle(acked(&taken[1])).await.unwrap(), []);
    let rest = lab.take(2).await;
    assert_eq!(rest.iter().map(|incoming| incoming.token.0).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(lab.settle(dead(&rest[0])).await.unwrap(), []);
    assert_eq!(lab.settle(acked(&rest[1])).await.unwrap(), []);
    assert_eq!(lab.dead().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_fetches_is_given_back_in_time_and_settled_too_late() {
    let lab = Lab::start_with(2, 10, "&consumer-timeout=2").await;
    let given_back = async {
        let mut lost = Vec::new();
        while lost.len() < 2 {
            let renewal = Renewal { held: Vec::new(), oldest: None };
            lost.extend(lab.member.settler.renew(renewal).await.unwrap());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        lost
    };
    let lost = tokio::time::timeout(PATIENCE, given_back).await.expect("is given back in time");
    let acked = UnitSettlements { acked: vec![lost[0].1], ..UnitSettlements::new(UNIT) };
    assert_eq!(lab.settle(settlement(acked)).await.unwrap(), lost[..1]);
    let others = vec![(lost[1].1, Disposition::Return { attempts: 0 })];
    let returned = UnitSettlements { others, ..UnitSettlements::new(UNIT) };
    assert_eq!(lab.settle(settlement(returned)).await.unwrap(), lost[1..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_before_it_is_given_back_is_not_told_to_be() {
    let mut lab = Lab::start_with(2, 10, "&consumer-timeout=2").await;
    let taken = lab.take(2).await;
    lab.server.raise_memory_alarm().await.unwrap();
    let settler = lab.member.settler.clone();
    let taken_back = tokio::spawn(async move { take_back(&settler).await });
    // The word on both is on its way.
    lab.hears(|fetched| matches!(fetched, Fetched::Event(Event::Blocked(_)))).await;
    assert_eq!(lab.settle(acked(&taken[0])).await.unwrap(), []);
    lab.server.clear_memory_alarm().await.unwrap();
    assert_eq!(taken_back.await.unwrap(), [(UNIT, taken[1].token)]);
    let told = lab.hears(|fetched| matches!(fetched, Fetched::Event(Event::GivenBack { .. }))).await;
    assert!(matches!(told, Fetched::Event(Event::GivenBack { count: 1, .. })), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_tells_how_many_it_has_acknowledged_or_given_up() {
    let mut lab = Lab::start(6, 10).await;
    let driver = RabbitDriver::connect(lab.config.clone()).await.unwrap();
    let (stream, group) = ("s".parse().unwrap(), "g".parse().unwrap());
    let told = async || driver.group_status(&stream, &group).await.unwrap().members[0].settled;
    assert_eq!(told().await, Some(0));
    let taken = lab.take(6).await;
    let up_to = UnitSettlements { frontier: Some(taken[1].token), ..UnitSettlements::new(UNIT) };
    lab.settle(settlement(up_to)).await.unwrap();
    assert_eq!(told().await, Some(2));
    // Above one that is unsettled.
    lab.settle(acked(&taken[3])).await.unwrap();
    assert_eq!(told().await, Some(3));
    lab.settle(dead(&taken[4])).await.unwrap();
    assert_eq!(told().await, Some(4));
    for settlement in [acked(&taken[3]), kept(&taken[2], 1), later(&taken[5])] {
        lab.settle(settlement).await.unwrap();
        assert_eq!(told().await, Some(4));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_on_its_way_when_the_server_takes_nothing_is_sent_once() {
    let mut lab = Lab::start_with(1, 10, "&request-timeout=60000").await;
    let taken = lab.take(1).await.remove(0);
    lab.server.raise_memory_alarm().await.unwrap();
    for _ in 0..2 {
        // Soon: acks wait for this.
        let refused = tokio::time::timeout(PATIENCE, lab.settle(dead(&taken))).await.expect("at once");
        assert_eq!(refused.expect_err("it takes none").kind(), zephcast_core::ErrorKind::Blocked);
    }
    lab.hears(|fetched| matches!(fetched, Fetched::Event(Event::Blocked(_)))).await;
    lab.server.clear_memory_alarm().await.unwrap();
    lab.hears(|fetched| matches!(fetched, Fetched::Event(Event::Unblocked(_)))).await;
    assert_eq!(lab.settle(dead(&taken)).await.expect("it goes on"), []);
    lab.member.settler.commit().await.unwrap();
    assert_eq!((lab.dead().await, lab.ready("s.g").await), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_for_another_attempt_does_not_do_for_a_dead_letter() {
    let mut lab = Lab::start_with(1, 10, "&request-timeout=60000").await;
    let taken = lab.take(1).await.remove(0);
    lab.server.raise_memory_alarm().await.unwrap();
    let error = lab.settle(later(&taken)).await.expect_err("it takes none");
    assert_eq!(error.kind(), zephcast_core::ErrorKind::Blocked, "{error}");
    lab.hears(|fetched| matches!(fetched, Fetched::Event(Event::Blocked(_)))).await;
    lab.server.clear_memory_alarm().await.unwrap();
    lab.hears(|fetched| matches!(fetched, Fetched::Event(Event::Unblocked(_)))).await;
    assert_eq!(lab.settle(dead(&taken)).await.unwrap(), []);
    lab.member.settler.commit().await.unwrap();
    assert_eq!((lab.dead().await, lab.ready("s.g").await), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_to_be_tried_apart_keeps_its_attempts() {
    let mut lab = Lab::start(0, 10).await;
    lab.publish("s.g", &vec![b'x'; LARGE]).await;
    let large = lab.take(1).await.remove(0);
    assert_eq!(lab.settle(kept(&large, 3)).await.unwrap(), []);
    lab.take_less().await;
    for _ in 0..2 {
        lab.die().await;
        let again = lab.take(1).await.remove(0);
        assert_eq!((again.message.payload().len(), again.attempt), (LARGE, 4));
    }
}
