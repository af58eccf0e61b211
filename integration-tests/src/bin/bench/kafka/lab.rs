//! One cluster, and names of topics and groups that nobody else has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use zephcast::{Client, StreamName};

use super::PARTITIONS;
use crate::Outcome;
use crate::measure::{Sample, Side};

/// How often, and how soon again, a topic is looked for, and how long an answer may take.
const LOOKS: usize = 200;
const LOOK: Duration = Duration::from_millis(10);
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Lab {
    pub(super) url: String,
    /// For raw clients.
    pub(super) server: String,
    pub(super) client: Client,
    admin: Arc<AdminClient<DefaultClientContext>>,
    prefix: String,
    names: Arc<AtomicUsize>,
}

impl Lab {
    pub(super) async fn open(url: String) -> Outcome<Self> {
        let server = server_of(&url);
        Ok(Self {
            client: zephcast::connect(&url).await?,
            admin: Arc::new(ClientConfig::new().set("bootstrap.servers", &server).create()?),
            url,
            server,
            prefix: format!("bench-{:08x}", fastrand::u32(..)),
            names: Arc::default(),
        })
    }

    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.prefix, self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs `work` with a topic of its own, which is gone afterwards.
    pub(super) async fn with_topic<T>(&self, work: impl AsyncFnOnce(String) -> Outcome<T>) -> Outcome<T> {
        let topic = self.name();
        let new = NewTopic::new(&topic, PARTITIONS as i32, TopicReplication::Fixed(1))
            .set("file.delete.delay.ms", "1000")
            .set("min.insync.replicas", "1");
        for created in self.admin.create_topics([&new], &AdminOptions::new()).await? {
            created.map_err(|(topic, code)| format!("{topic} was not created: {code}"))?;
        }
        self.wait_for(&topic).await?;
        let done = work(topic.clone()).await;
        self.client.admin().delete_stream(&StreamName::new(&topic)?).await?;
        done
    }

    /// A topic that was created is not known at once to a broker that is asked for it.
    async fn wait_for(&self, topic: &str) -> Outcome<()> {
        for _ in 0..LOOKS {
            let known = self.admin.inner().fetch_metadata(Some(topic), ANSWER)?;
            if known.topics().iter().any(|known| known.partitions().len() == PARTITIONS) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(format!("{topic} was created and is not there").into())
    }

    /// A side that works on an empty topic.
    pub(super) fn side<F>(&self, work: impl Fn(Self, String) -> F + Copy + 'static) -> Side
    where
        F: Future<Output = Outcome<Sample>> + 'static,
    {
        let lab = self.clone();
        Side::new(move || {
            let lab = lab.clone();
            async move { lab.with_topic(async |topic| work(lab.clone(), topic).await).await }
        })
    }

    /// A side that reads a filled topic by a new group.
    pub(super) fn reader<F>(&self, topic: &str, work: impl Fn(Self, String, String) -> F + Copy + 'static) -> Side
    where
        F: Future<Output = Outcome<Sample>> + 'static,
    {
        let (lab, topic) = (self.clone(), topic.to_owned());
        Side::new(move || work(lab.clone(), topic.clone(), lab.name()))
    }
}

/// `HOST:PORT,...` of a URL.
pub(super) fn server_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest).to_owned()
}
