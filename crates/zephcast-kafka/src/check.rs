//! A look at the cluster: its version, the user's rights, risky settings.

use std::collections::BTreeMap;

use zephcast_core::driver::Check;
use zephcast_core::{ErrorKind, Result, Warning};

use crate::KafkaConfig;
use crate::cluster::Cluster;
use crate::native::{Resource, TopicDescription};
use crate::place::METADATA_BYTES;

const OPERATION: &str = "check";
/// How many streams a warning names.
const NAMED: usize = 5;

pub(crate) async fn run(cluster: &Cluster) -> Result<Check> {
    let description = cluster.describe_cluster(OPERATION).await?;
    let nodes = description.nodes.as_slice();
    let mut found = Warnings::default();
    let settings = Settings(broker(cluster, &mut found, nodes).await?);
    let topics = cluster.topics(OPERATION).await?;
    if description.may_create == Some(false) {
        found.add(
            "missing_rights",
            "the user may not create topics of any name; retries and dead letters are topics, `STREAM.GROUP.*`",
            "allow the user to create, read, write and delete topics of its streams' names, by prefix, if it is not yet",
        );
    }
    warn_of_broker(&mut found, &settings);
    warn_of_durability(&mut found, &settings, nodes.len());
    warn_of_retention(&mut found, &settings);
    warn_of_replication(&mut found, &topics, nodes.len());
    warn_of_network(&mut found, cluster.config());
    Ok(Check { version: settings.version(), warnings: found.0 })
}

#[derive(Default)]
struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, kind: &'static str, message: impl Into<String>, advice: &str) {
        self.0.push(Warning::new(kind, message, advice));
    }
}

/// The settings of one broker, as an example of all; none when the user may not ask.
async fn broker(cluster: &Cluster, found: &mut Warnings, nodes: &[i32]) -> Result<BTreeMap<String, String>> {
    let Some(node) = nodes.first() else { return Ok(BTreeMap::new()) };
    match cluster.settings(OPERATION, Resource::Broker(*node)).await {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            found.add(
                "rights_unknown",
                "the user may not look at the settings of the brokers, so most of them were not checked",
                "allow the user DescribeConfigs on the cluster, and check again",
            );
            Ok(BTreeMap::new())
        }
        settings => settings,
    }
}

/// By their names.
struct Settings(BTreeMap<String, String>);

impl Settings {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    fn is_on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// What the brokers speak among themselves, as far as they say it.
    fn version(&self) -> String {
        self.text("inter.broker.protocol.version").unwrap_or("unknown").to_owned()
    }

    /// How long records are kept by age, in milliseconds; none for ever.
    fn log_retention_ms(&self) -> Option<i64> {
        let ms = self.number("log.retention.ms");
        let minutes = || self.number("log.retention.minutes").map(|minutes| minutes.saturating_mul(60_000));
        let hours = || self.number("log.retention.hours").map(|hours| hours.saturating_mul(3_600_000));
        ms.or_else(minutes).or_else(hours).filter(|ms| *ms >= 0)
    }
}

fn warn_of_broker(found: &mut Warnings, settings: &Settings) {
    if settings.is_on("auto.create.topics.enable") {
        found.add(
            "auto_create",
            "auto.create.topics.enable is true: a mistyped name makes a topic instead of an error",
            "set auto.create.topics.enable=false on the brokers",
        );
    }
    if settings.text("delete.topic.enable") == Some("false") {
        found.add(
            "no_deletion",
            "delete.topic.enable is false: streams cannot be deleted",
            "set delete.topic.enable=true on the brokers if they should be",
        );
    }
    let needed = METADATA_BYTES as i64;
    if let Some(bytes) = settings.number("offset.metadata.max.bytes").filter(|bytes| *bytes < needed) {
        found.add(
            "little_metadata",
            format!("offset.metadata.max.bytes is {bytes}, but members commit up to {needed}"),
            "set offset.metadata.max.bytes=4096 on the brokers",
        );
    }
}

fn warn_of_durability(found: &mut Warnings, settings: &Settings, nodes: usize) {
    if settings.is_on("unclean.leader.election.enable") {
        found.add(
            "unclean_election",
            "unclean.leader.election.enable is true: a failover can lose what was confirmed",
            "set unclean.leader.election.enable=false on the brokers",
        );
    }
    if nodes > 1 && settings.number("min.insync.replicas") == Some(1) {
        found.add(
            "one_copy_confirms",
            "min.insync.replicas is 1: a message is confirmed when one broker has it, and lost with that one",
            "set min.insync.replicas=2 on the brokers, with three copies of each topic",
        );
    }
    if nodes > 1 && settings.number("default.replication.factor") == Some(1) {
        found.add(
            "one_copy_by_default",
            "default.replication.factor is 1: new streams have one copy, and so have retries and dead letters",
            "set default.replication.factor=3 on the brokers",
        );
    }
}

fn warn_of_retention(found: &mut Warnings, settings: &Settings) {
    let Some(minutes) = settings.number("offsets.retention.minutes") else { return };
    let kept = minutes.saturating_mul(60_000);
    if settings.log_retention_ms().is_none_or(|records| kept < records) {
        found.add(
            "groups_are_forgotten",
            format!(
                "offsets.retention.minutes is {minutes}: a group without members is forgotten before its messages are"
            ),
            "set offsets.retention.minutes on the brokers to more than the longest retention of a stream",
        );
    }
}

fn warn_of_replication(found: &mut Warnings, topics: &BTreeMap<String, TopicDescription>, nodes: usize) {
    if nodes == 1 {
        found.add(
            "one_broker",
            "the cluster is one broker: while it is away nothing can be published or consumed",
            "run three brokers",
        );
        return;
    }
    let alone: Vec<&str> =
        topics.iter().filter(|(_, known)| known.replication == 1).map(|(topic, _)| topic.as_str()).collect();
    if let Some(shown) = named(&alone) {
        found.add(
            "one_copy",
            format!("there is one copy only of {shown}: lost with the broker that has it"),
            "raise the replication factor with kafka-reassign-partitions, and create streams with replication=3",
        );
    }
}

/// Some names, and how many more there are.
fn named(names: &[&str]) -> Option<String> {
    let (shown, more) = names.split_at(names.len().min(NAMED));
    match (shown.is_empty(), more.len()) {
        (true, _) => None,
        (false, 0) => Some(shown.join(", ")),
        (false, more) => Some(format!("{} and {more} more", shown.join(", "))),
    }
}

fn warn_of_network(found: &mut Warnings, config: &KafkaConfig) {
    let is_local = |host: &str| matches!(host, "localhost" | "::1") || host.starts_with("127.");
    let remote = config.hosts.iter().any(|(host, _)| !is_local(host));
    if remote && config.tls.is_none() && config.user.is_some() {
        found.add(
            "plain_text",
            "all messages cross the network in plain text, and so does what proves who the user is",
            "use kafka+ssl:// and a listener with TLS",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    fn kinds(warn: impl Fn(&mut Warnings)) -> Vec<&'static str> {
        let mut found = Warnings::default();
        warn(&mut found);
        found.0.iter().map(|warning| warning.kind).collect()
    }

    #[test]
    fn groups_should_be_remembered_for_longer_than_messages() {
        let warned = |pairs: &[_]| !kinds(|found| warn_of_retention(found, &settings(pairs))).is_empty();
        assert!(!warned(&[]));
        assert!(!warned(&[("offsets.retention.minutes", "10080"), ("log.retention.hours", "168")]));
        assert!(warned(&[("offsets.retention.minutes", "10079"), ("log.retention.hours", "168")]));
        assert!(warned(&[("offsets.retention.minutes", "10080"), ("log.retention.ms", "-1")]));
        assert!(!warned(&[
            ("offsets.retention.minutes", "2"),
            ("log.retention.hours", "168"),
            ("log.retention.ms", "9")
        ]));
    }

    #[test]
    fn copies_matter_where_there_can_be_some() {
        let one = settings(&[("min.insync.replicas", "1"), ("default.replication.factor", "1")]);
        assert!(kinds(|found| warn_of_durability(found, &one, 1)).is_empty());
        assert_eq!(kinds(|found| warn_of_durability(found, &one, 3)), ["one_copy_confirms", "one_copy_by_default"]);
    }

    #[test]
    fn few_of_many_names_are_shown() {
        assert_eq!(named(&[]), None);
        assert_eq!(named(&["a", "b"]).unwrap(), "a, b");
        assert_eq!(named(&["a", "b", "c", "d", "e", "f", "g"]).unwrap(), "a, b, c, d, e and 2 more");
    }
}
