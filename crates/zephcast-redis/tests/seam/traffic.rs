//! A publisher and a consumer at work, whose accounts are compared in the end.

use std::collections::HashSet;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use zephcast_redis::{Client, Event};

use crate::prelude::*;

/// How long anything here may take that is awaited.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two messages.
const PACE: Duration = Duration::from_millis(5);

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Numbers of the messages with a receipt, and when each was published.
    pub(crate) confirmed: Vec<(u64, Instant)>,
    /// Kinds of the errors of publishing, with whether the outcome is unknown.
    pub(crate) refused: Vec<(ErrorKind, bool)>,
    /// Numbers of the messages that came, and when.
    pub(crate) handled: Vec<(u64, Instant)>,
    pub(crate) events: Vec<Event>,
    /// The error with which the consumer ended.
    pub(crate) ended: Option<ErrorKind>,
}

impl Account {
    fn handled(&self) -> HashSet<u64> {
        self.handled.iter().map(|(number, _)| *number).collect()
    }

    /// Confirmed messages that nobody handled.
    pub(crate) fn missing(&self) -> Vec<u64> {
        let handled = self.handled();
        self.confirmed.iter().map(|(number, _)| *number).filter(|number| !handled.contains(number)).collect()
    }

    pub(crate) fn repeated(&self) -> usize {
        self.handled.len() - self.handled().len()
    }
}

/// Both at work until dropped.
pub(crate) struct Traffic {
    account: watch::Receiver<Account>,
    tasks: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Publishes one message after the other, each waited for at most `timeout`, and acks what comes.
    pub(crate) async fn start(client: &Client, stream: &StreamName, timeout: Duration) -> Self {
        let (sender, account) = watch::channel(Account::default());
        let sender = Arc::new(sender);
        let mut consumer =
            client.consumer(stream.as_str()).group("g").lease(Duration::from_secs(2)).start().await.expect("joined");
        let publisher = client.publisher(stream.as_str()).timeout(timeout).await.expect("a publisher");
        let mut events = consumer.events();
        let told = sender.clone();
        let listening = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                told.send_modify(|account| account.events.push(event));
            }
        });
        let told = sender.clone();
        let consuming = tokio::spawn(async move {
            while let Some(next) = consumer.next().await {
                let delivery = match next {
                    Ok(delivery) => delivery,
                    Err(error) => {
                        told.send_modify(|account| account.ended = Some(error.kind()));
                        continue;
                    }
                };
                let number = delivery.payload_str().expect("text").parse().expect("a number");
                told.send_modify(|account| account.handled.push((number, Instant::now())));
                // Lost ones come again, which is counted.
                let _ = delivery.ack();
            }
        });
        let publishing = tokio::spawn(async move {
            let mut pace = tokio::time::interval(PACE);
            for number in 0_u64.. {
                pace.tick().await;
                let began = Instant::now();
                let outcome = publisher.publish(number.to_string()).await;
                sender.send_modify(|account| match outcome {
                    Ok(_) => account.confirmed.push((number, began)),
                    Err(error) => account.refused.push((error.kind(), error.is_unknown())),
                });
            }
        });
        Self { account, tasks: vec![listening, consuming, publishing] }
    }

    pub(crate) fn account(&self) -> Account {
        self.account.borrow().clone()
    }

    /// Waits until the account is so.
    pub(crate) async fn until(&self, what: &str, condition: impl FnMut(&Account) -> bool) -> Account {
        let mut account = self.account.clone();
        let reached = tokio::time::timeout(PATIENCE, account.wait_for(condition)).await;
        match reached {
            Ok(account) => account.expect("both are at work").clone(),
            Err(_) => panic!("{what}: not within {PATIENCE:?}; {}", self.summary()),
        }
    }

    /// Waits until a message that was published after `moment` was confirmed and handled; says how long after it that was.
    pub(crate) async fn flows_after(&self, what: &str, moment: Instant) -> Duration {
        let account = self.until(what, |account| first_handled(account, moment).is_some()).await;
        first_handled(&account, moment).expect("just seen").saturating_duration_since(moment)
    }

    /// Ends publishing and waits until everything confirmed was handled, but for these.
    pub(crate) async fn nothing_is_lost(mut self, what: &str, but: &HashSet<u64>) -> Account {
        let publishing = self.tasks.pop().expect("it publishes last");
        publishing.abort();
        let _ = publishing.await;
        self.until(what, |account| account.missing().iter().all(|number| but.contains(number))).await
    }

    pub(crate) fn summary(&self) -> String {
        let account = self.account();
        format!(
            "{} confirmed, {} missing, refused {:?}, ended {:?}, events {:?}",
            account.confirmed.len(),
            account.missing().len(),
            account.refused.iter().collect::<HashSet<_>>(),
            account.ended,
            account.events
        )
    }
}

fn first_handled(account: &Account, moment: Instant) -> Option<Instant> {
    let (number, _) = account.confirmed.iter().find(|(_, began)| *began >= moment)?;
    account.handled.iter().find(|(handled, _)| handled == number).map(|(_, at)| *at)
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Numbers in what `redis-cli` shows of a stream.
pub(crate) fn numbers(shown: &str) -> HashSet<u64> {
    shown.lines().filter_map(|line| line.parse().ok()).collect()
}
