//! A member as the engine would drive it, in a few words.

use crate::prelude::*;

pub(crate) fn group() -> GroupName {
    GroupName::new("g").expect("a valid name")
}

pub(crate) fn messages(count: usize) -> Vec<Message> {
    (0..count).map(|n| Message::new(format!("m{n}"))).collect()
}

pub(crate) async fn publish(driver: &RedisDriver, stream: &StreamName, batch: &[Message]) -> Vec<Position> {
    let sink = driver.open_sink(stream, true).await.expect("a sink");
    let outcomes = sink.publish(batch).await;
    outcomes.into_iter().map(|outcome| outcome.expect("stored").expect("a position")).collect()
}

pub(crate) struct Joined {
    pub(crate) intake: Box<dyn Intake>,
    pub(crate) settler: Arc<dyn Settler>,
}

impl Joined {
    /// Joins with a lease of one second.
    pub(crate) async fn new(driver: &RedisDriver, stream: &StreamName, name: &str) -> Self {
        Self::with(driver, stream, |subscription| {
            subscription.member = MemberName::new(name).expect("a valid name");
            subscription.lease = Duration::from_secs(1);
        })
        .await
    }

    pub(crate) async fn with(driver: &RedisDriver, stream: &StreamName, change: impl Fn(&mut Subscription)) -> Self {
        let mut subscription = Subscription::new(stream.clone(), group());
        change(&mut subscription);
        let Membership { mut intake, settler } = driver.join(subscription).await.expect("joined");
        let first = intake.fetch(credit(1)).await.expect("assigned");
        assert!(matches!(first, Fetched::Assigned(_)), "{first:?}");
        let connected = intake.fetch(credit(1)).await.expect("connected");
        assert!(matches!(connected, Fetched::Idle), "{connected:?}");
        Self { intake, settler }
    }

    /// Fetches once, with room for so many.
    pub(crate) async fn fetch(&mut self, room: usize) -> Fetched {
        let fetched = self.intake.fetch(credit(room));
        let fetched = tokio::time::timeout(Duration::from_secs(20), fetched).await.expect("something within 20 s");
        fetched.expect("a fetch that works")
    }

    /// Fetches until there are so many messages; anything else that comes is dropped.
    pub(crate) async fn receive(&mut self, count: usize) -> Vec<Incoming> {
        let mut received = Vec::new();
        let until = Instant::now() + Duration::from_secs(20);
        while received.len() < count {
            assert!(Instant::now() < until, "{} of {count} messages within 20 s", received.len());
            if let Fetched::Batch(batch) = self.fetch(count - received.len()).await {
                assert!(batch.messages.len() <= count - received.len(), "more than there was room for");
                received.extend(batch.messages);
            }
        }
        received
    }

    /// Fetches with nothing else running, until there is a suspect.
    pub(crate) async fn suspect(&mut self) -> Option<Incoming> {
        let credit = Credit { messages: 1, bytes: 1 << 20, suspect: true };
        loop {
            match self.intake.fetch(credit).await.expect("a fetch that works") {
                Fetched::Batch(mut batch) => {
                    assert_eq!(batch.messages.len(), 1, "one suspect at a time");
                    return batch.messages.pop();
                }
                Fetched::Idle => return None,
                _ => {}
            }
        }
    }

    /// Waits for news with a full window, for so long that whatever is on its way has arrived.
    pub(crate) async fn wait_with_full_window(&mut self) {
        let full = Credit { messages: 0, bytes: 0, suspect: false };
        let settler = self.settler.clone();
        let end = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            settler.interrupt();
        };
        let (fetched, ()) = tokio::join!(self.intake.fetch(full), end);
        assert!(matches!(fetched, Ok(Fetched::Idle)), "{fetched:?}");
    }

    /// Fetches until the driver says that messages are gone, and returns how many. Nothing else may come.
    pub(crate) async fn told_of_missing(&mut self) -> u64 {
        loop {
            match self.fetch(10).await {
                Fetched::Event(Event::Missing { count, .. }) => return count,
                Fetched::Batch(batch) => panic!("{:?} came instead of word of what is gone", batch.messages),
                _ => {}
            }
        }
    }

    /// Fetches until the driver says that there are suspects; nothing else may come.
    pub(crate) async fn told_of_suspects(&mut self) {
        loop {
            match self.fetch(10).await {
                Fetched::Suspects => return,
                Fetched::Batch(batch) => panic!("{:?} came instead of word of suspects", batch.messages),
                _ => {}
            }
        }
    }

    pub(crate) async fn ack(&self, acked: &[Incoming]) -> Vec<Token> {
        let mut unit = UnitSettlements::new(UnitId(0));
        unit.acked = acked.iter().map(|incoming| incoming.token).collect();
        self.settle(unit).await
    }

    pub(crate) async fn other(&self, incoming: &Incoming, disposition: Disposition) -> Vec<Token> {
        let mut unit = UnitSettlements::new(UnitId(0));
        unit.others.push((incoming.token, disposition));
        self.settle(unit).await
    }

    async fn settle(&self, unit: UnitSettlements) -> Vec<Token> {
        self.settle_with(unit, false).await
    }

    /// Settles again what an earlier call may have settled.
    pub(crate) async fn ack_again(&self, acked: &[Incoming]) -> Vec<Token> {
        let mut unit = UnitSettlements::new(UnitId(0));
        unit.acked = acked.iter().map(|incoming| incoming.token).collect();
        self.settle_with(unit, true).await
    }

    async fn settle_with(&self, unit: UnitSettlements, again: bool) -> Vec<Token> {
        let settlement = Settlement { again, units: vec![unit] };
        let lost = self.settler.settle(&settlement).await.expect("settled");
        lost.into_iter().map(|(_, token)| token).collect()
    }

    pub(crate) async fn renew(&self, held: &[Incoming]) -> Vec<Token> {
        let tokens = held.iter().map(|incoming| incoming.token).collect();
        let renewal = Renewal { held: vec![Held { unit: UnitId(0), tokens }], oldest: None };
        let lost = self.settler.renew(renewal).await.expect("renewed");
        lost.into_iter().map(|(_, token)| token).collect()
    }

    /// Leaves as the engine does: the last fetch has returned before.
    pub(crate) async fn leave(self, returned: &[(Token, u32)]) {
        let give = |(token, attempts): &(Token, u32)| Returned { unit: UnitId(0), token: *token, attempts: *attempts };
        let returned = returned.iter().map(give).collect();
        self.settler.leave(returned, Duration::from_secs(5)).await.expect("left");
    }

    /// Ends without a word, as a killed process does.
    pub(crate) fn die(self) {}
}

fn credit(room: usize) -> Credit {
    Credit { messages: room, bytes: 1 << 24, suspect: false }
}

pub(crate) fn dead(incoming: &Incoming) -> Disposition {
    Disposition::Dead {
        message: Box::new(incoming.message.clone()),
        origin: position(incoming),
        published_ms: None,
        attempts: 1,
        failure: failure(),
    }
}

pub(crate) fn failure() -> Failure {
    Failure { reason: "no stock".into(), first_failed_ms: 11, last_failed_ms: 22 }
}

pub(crate) fn position(incoming: &Incoming) -> Position {
    let (unit, token) = incoming.origin;
    Position::new(PositionStyle::EntryId, unit, token)
}
