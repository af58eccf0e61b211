//! Topics: which there are, and making sure that one is.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataPartition;
use zephcast_core::{ErrorKind, Result};

use super::offsets::partitions_of;
use super::{Cluster, names_no_topic};
use crate::error::{Failure, code_of, error, missing};
use crate::native::{self, ClusterDescription, NewTopic, OffsetOf, Resource, TopicDescription};

/// How long to wait before looking again whether a topic is there, or gone, for all nodes.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a topic without some leaders may be one that was just made.
const JUST_MADE: Duration = Duration::from_secs(1);

/// Settings of a helper topic. Nothing is deleted from it by age or size: it holds what a group has not settled. A record
/// in it has notes besides those of the stream's, and must fit in all the same.
const HELPER: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("max.message.bytes", "104857600"),
];

impl Cluster {
    /// Makes sure that the stream's topic is there and can be used, and says how many partitions it has. One that it
    /// makes has the partitions that are configured, and else the broker's defaults.
    ///
    /// # Errors
    /// `NotFound`, naming the stream, when it does not exist and is not to be created.
    pub(crate) async fn ensure_topic(&self, operation: &'static str, topic: &str, create: bool) -> Result<u32> {
        let new = NewTopic { name: topic, partitions: self.usual_partitions(), ..NewTopic::default() };
        self.ensure(operation, topic, create.then_some(new)).await
    }

    /// Makes sure that a group's helper topic is there and can be used. One that exists keeps its partitions.
    pub(crate) async fn ensure_helper(&self, operation: &'static str, topic: &str, partitions: u32) -> Result<u32> {
        let partitions = i32::try_from(partitions).ok();
        let new = NewTopic { name: topic, partitions, replication: None, settings: HELPER.into() };
        self.ensure(operation, topic, Some(new)).await
    }

    async fn ensure(&self, operation: &'static str, topic: &str, new: Option<NewTopic<'_>>) -> Result<u32> {
        match self.describe(operation, topic).await? {
            Some(known) if known.is_led() => Ok(known.partitions),
            // Just made, or without some of its nodes: the other partitions can be used.
            Some(known) => Ok(self.until_led(operation, topic, JUST_MADE).await.unwrap_or(known.partitions)),
            None => {
                self.create_if_missing(operation, &new.ok_or_else(|| missing(operation, topic))?).await?;
                self.until_led(operation, topic, self.config().request_timeout).await
            }
        }
    }

    /// How many partitions a stream gets that is made without a number; none for the broker's default.
    pub(crate) fn usual_partitions(&self) -> Option<i32> {
        self.config().partitions.and_then(|number| i32::try_from(number).ok())
    }

    async fn create_if_missing(&self, operation: &'static str, topic: &NewTopic<'_>) -> Result<()> {
        match self.create_topic(operation, topic).await {
            // Somebody else was faster.
            Err(error) if code_of(&error) == Some(Code::TopicAlreadyExists) => Ok(()),
            created => created,
        }
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// `Conflict` when it exists.
    pub(crate) async fn create_topic(&self, operation: &'static str, topic: &NewTopic<'_>) -> Result<()> {
        self.ask(operation, |library, timeout| async move { native::create_topic(&library, timeout, topic).await })
            .await
    }

    /// Waits until every partition of a new topic has a leader, and says how many they are.
    pub(crate) async fn until_led(&self, operation: &'static str, topic: &str, timeout: Duration) -> Result<u32> {
        let led = async {
            loop {
                // Not every node has heard of a new topic at once.
                if let Some(known) = self.describe(operation, topic).await?.filter(TopicDescription::is_led) {
                    let partitions: Vec<_> = partitions_of(topic, known.partitions).collect();
                    // A leader may not know yet that it is one; it does when it answers.
                    if self.offsets(operation, &partitions, OffsetOf::Begin).await?.len() == partitions.len() {
                        return Ok(known.partitions);
                    }
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(timeout, led).await.unwrap_or_else(|_| {
            let text = format!("not every partition of {topic:?} has a leader within {timeout:?}");
            Err(error(ErrorKind::Unavailable, operation, text))
        })
    }

    /// Deletes topics, and waits until they are gone. Those that are gone already are fine.
    pub(crate) async fn delete_topics(&self, operation: &'static str, topics: &[&str]) -> Result<()> {
        let outcomes = self
            .ask(operation, |library, timeout| async move { native::delete_topics(&library, timeout, topics).await })
            .await?;
        for (_, outcome) in outcomes {
            match outcome {
                Err(failure) if names_no_topic(failure.code) => {}
                outcome => outcome.map_err(|failure| failure.into_error(operation))?,
            }
        }
        let gone = async {
            while !self.described(operation, topics).await?.is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok(())
        };
        let timeout = self.config().request_timeout;
        tokio::time::timeout(timeout, gone).await.unwrap_or_else(|_| {
            Err(error(ErrorKind::Timeout, operation, format!("a deleted topic is still there after {timeout:?}")))
        })
    }

    /// What is known of a topic; none when it does not exist.
    pub(crate) async fn describe(&self, operation: &'static str, topic: &str) -> Result<Option<TopicDescription>> {
        Ok(self.described(operation, &[topic]).await?.remove(topic))
    }

    /// What is known of those of these topics that exist.
    pub(crate) async fn described(
        &self,
        operation: &'static str,
        topics: &[&str],
    ) -> Result<BTreeMap<String, TopicDescription>> {
        let answer = self
            .ask(operation, |library, timeout| async move { native::describe_topics(&library, timeout, topics).await });
        let mut existing = BTreeMap::new();
        for (topic, described) in answer.await? {
            match described {
                Ok(description) => drop(existing.insert(topic, description)),
                Err(failure) if names_no_topic(failure.code) => {}
                Err(failure) => return Err(failure.into_error(operation)),
            }
        }
        Ok(existing)
    }

    /// How many partitions a topic has; none when it does not exist.
    pub(crate) async fn partitions(&self, operation: &'static str, topic: &str) -> Result<Option<u32>> {
        Ok(self.describe(operation, topic).await?.map(|known| known.partitions))
    }

    /// Every topic that the user may see, but for those that belong to the broker.
    pub(crate) async fn topics(&self, operation: &'static str) -> Result<BTreeMap<String, TopicDescription>> {
        let look = |library: native::Library, timeout: Duration| async move {
            // The only question for which the client library blocks.
            let looked = tokio::task::spawn_blocking(move || {
                let metadata = library.consumer.fetch_metadata(None, timeout)?;
                let topics = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__"));
                Ok(topics.filter(|topic| topic.error().is_none()).map(described).collect())
            });
            match looked.await {
                Ok(looked) => looked.map_err(|error: KafkaError| {
                    Failure::new(error.rdkafka_error_code().unwrap_or(Code::Fail), error.to_string())
                }),
                Err(_) => Err(Failure::new(Code::Fail, "the runtime is ending".into())),
            }
        };
        self.ask(operation, look).await
    }

    /// The settings of a topic, a broker.
    pub(crate) async fn settings(&self, operation: &'static str, of: Resource<'_>) -> Result<BTreeMap<String, String>> {
        self.ask(operation, |library, timeout| async move { native::describe_configs(&library, timeout, of).await })
            .await
    }

    /// The cluster as a whole.
    pub(crate) async fn describe_cluster(&self, operation: &'static str) -> Result<ClusterDescription> {
        self.ask(operation, |library, timeout| async move { native::describe_cluster(&library, timeout).await }).await
    }
}

fn described(topic: &rdkafka::metadata::MetadataTopic) -> (String, TopicDescription) {
    let partitions = topic.partitions();
    let copies = partitions.iter().map(|partition| partition.replicas().len()).min();
    let known = TopicDescription {
        id: 0,
        partitions: u32::try_from(partitions.len()).unwrap_or(u32::MAX),
        replication: copies.and_then(|copies| u32::try_from(copies).ok()).unwrap_or(0),
        leaderless: partitions.iter().filter(|partition| partition.leader() < 0).map(MetadataPartition::id).collect(),
    };
    (topic.name().to_owned(), known)
}
