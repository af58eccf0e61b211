//! Making a stream.

use std::collections::BTreeMap;

use rdkafka::error::RDKafkaErrorCode as Code;
use zephcast_core::driver::StreamSpec;
use zephcast_core::{Error, ErrorKind, Result};

use crate::cluster::Cluster;
use crate::error::{code_of, error, invalid};
use crate::native::{NewTopic, Resource, TopicDescription};

const OPERATION: &str = "create a stream";
/// The one setting that is not a topic's.
const REPLICATION: &str = "replication";
/// The most partitions of a stream: there are this many numbers for its units.
const MOST_PARTITIONS: u32 = 1 << 24;

/// Makes a stream. One that exists alike is fine.
///
/// # Errors
/// `Conflict`, naming the difference, when it exists otherwise; `InvalidInput`, saying what to do, for what it cannot have.
pub(crate) async fn create(cluster: &Cluster, spec: &StreamSpec) -> Result<()> {
    let wanted = wanted(spec)?;
    // What is usual here is asked of a new stream only, and not of one that exists.
    let new = NewTopic { partitions: wanted.partitions.or_else(|| cluster.usual_partitions()), ..wanted.clone() };
    match cluster.create_topic(OPERATION, &new).await {
        Ok(()) => {}
        Err(error) if code_of(&error) == Some(Code::TopicAlreadyExists) => {
            let Some(known) = cluster.describe(OPERATION, wanted.name).await? else { return Err(error) };
            return compare(&wanted, &known, &settings(cluster, &wanted).await?);
        }
        Err(error) => return Err(advised(error)),
    }
    cluster.until_led(OPERATION, wanted.name, cluster.config().request_timeout).await.map(drop)
}

fn wanted(spec: &StreamSpec) -> Result<NewTopic<'_>> {
    let partitions = match spec.partitions {
        None => None,
        Some(count @ 1..=MOST_PARTITIONS) => Some(count.cast_signed()),
        Some(count) => {
            return Err(invalid(OPERATION, format!("a stream has 1 to {MOST_PARTITIONS} partitions, not {count}")));
        }
    };
    let mut settings: BTreeMap<&str, &str> =
        spec.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let replication = settings.remove(REPLICATION).map(|text| {
        let number = text.parse().ok().filter(|copies: &i16| *copies > 0).map(i32::from);
        number
            .ok_or_else(|| invalid(OPERATION, format!("{text:?} is no number of copies; set {REPLICATION} to 3, say")))
    });
    Ok(NewTopic { name: spec.stream.as_str(), partitions, replication: replication.transpose()?, settings })
}

/// The settings of the topic that exists, where some are wanted.
async fn settings(cluster: &Cluster, wanted: &NewTopic<'_>) -> Result<BTreeMap<String, String>> {
    match wanted.settings.is_empty() {
        true => Ok(BTreeMap::new()),
        false => cluster.settings(OPERATION, Resource::Topic(wanted.name)).await,
    }
}

/// Whether what exists is what is wanted.
fn compare(wanted: &NewTopic<'_>, known: &TopicDescription, settings: &BTreeMap<String, String>) -> Result<()> {
    let differs = |what: &str, has: &str, wanted_value: &str| {
        let text = format!("the stream {:?} exists with {what} {has}, not {wanted_value}", wanted.name);
        Err(error(ErrorKind::Conflict, OPERATION, text))
    };
    if let Some(count) = wanted.partitions.filter(|count| count.cast_unsigned() != known.partitions) {
        return differs("partitions", &known.partitions.to_string(), &count.to_string());
    }
    if let Some(copies) = wanted.replication.filter(|copies| copies.cast_unsigned() != known.replication) {
        return differs(REPLICATION, &known.replication.to_string(), &copies.to_string());
    }
    for (name, value) in &wanted.settings {
        match settings.get(*name) {
            Some(known) if known == value => {}
            Some(known) => return differs(name, known, value),
            None => return Err(unknown_setting(&format!("`{name}` is no setting of a topic"))),
        }
    }
    Ok(())
}

fn unknown_setting(text: &str) -> Error {
    invalid(OPERATION, format!("{text}; a stream has `{REPLICATION}` and the settings of a Kafka topic"))
}

/// Says what to do about a refusal.
fn advised(refusal: Error) -> Error {
    let text = refusal.message().to_owned();
    let advice = match code_of(&refusal) {
        Some(Code::InvalidConfig) => return unknown_setting(&text).caused_by(refusal),
        Some(Code::InvalidReplicationFactor) => "set replication to at most the number of brokers",
        Some(Code::PolicyViolation) => "choose what the policy of the cluster allows",
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
            "allow the user to create topics, or have somebody create the stream"
        }
        _ => return refusal,
    };
    error(refusal.kind(), OPERATION, format!("{text}; {advice}")).caused_by(refusal)
}

#[cfg(test)]
mod tests {
    use zephcast_core::StreamName;

    use super::*;

    fn spec(settings: &[(&str, &str)]) -> StreamSpec {
        let mut spec = StreamSpec::new(StreamName::new("orders").unwrap());
        spec.settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        spec
    }

    #[test]
    fn replication_is_told_from_the_settings_of_the_topic() {
        let spec = spec(&[("replication", "3"), ("retention.ms", "1000")]);
        let wanted = wanted(&spec).unwrap();
        assert_eq!((wanted.partitions, wanted.replication), (None, Some(3)));
        assert_eq!(wanted.settings, BTreeMap::from([("retention.ms", "1000")]));
    }

    #[test]
    fn what_no_stream_can_have_is_refused() {
        for bad in ["0", "-1", "x", "100000"] {
            assert_eq!(wanted(&spec(&[("replication", bad)])).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
        for bad in [0, MOST_PARTITIONS + 1] {
            let mut spec = spec(&[]);
            spec.partitions = Some(bad);
            assert_eq!(wanted(&spec).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
    }

    #[test]
    fn a_difference_is_named() {
        let known = TopicDescription { id: 1, partitions: 3, replication: 1, leaderless: Vec::new() };
        let settings = BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]);
        let alike = NewTopic {
            name: "orders",
            partitions: Some(3),
            replication: Some(1),
            settings: [("retention.ms", "1000")].into(),
        };
        compare(&alike, &known, &settings).unwrap();
        let others = [
            (NewTopic { partitions: Some(4), ..alike.clone() }, "partitions 3, not 4"),
            (NewTopic { replication: Some(2), ..alike.clone() }, "replication 1, not 2"),
            (NewTopic { settings: [("retention.ms", "7")].into(), ..alike.clone() }, "retention.ms 1000, not 7"),
        ];
        for (other, difference) in others {
            let error = compare(&other, &known, &settings).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.message().contains(difference), "{error}");
        }
        let unknown = NewTopic { settings: [("color", "red")].into(), ..alike };
        assert_eq!(compare(&unknown, &known, &settings).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
