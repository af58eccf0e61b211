//! The consumers of a queue, with what their channels say.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value};
use zephcast_core::{ErrorKind, Result};

use super::answer::Answer;
use super::lenient::{known, or_default};
use super::moment;
use super::path::escaped;
use super::requests::Requests;

/// A consumer. Its channel is known to the API some seconds after it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConsumerFigures {
    pub(crate) tag: String,
    /// 0 is without a limit.
    pub(crate) prefetch: Option<u64>,
    pub(crate) arguments: Map<String, Value>,
    /// What its channel holds unacked; it counts for every consumer of the channel.
    pub(crate) unacked: Option<u64>,
    /// For how long its channel has done nothing; none while it does something.
    pub(crate) idle: Option<Duration>,
}

/// The consumers of the queue at this place of the API.
pub(super) async fn of_queue(
    requests: &Requests,
    operation: &'static str,
    place: &str,
) -> Result<Vec<ConsumerFigures>> {
    // Its own consumers only, where the list of consumers is that of the whole virtual host.
    let consumed: Option<Consumed> = requests.read(operation, &format!("{place}?columns=consumer_details")).await?;
    let mut channels = BTreeMap::new();
    let mut consumers = Vec::new();
    for consumer in consumed.unwrap_or_default().consumer_details {
        let channel = match &consumer.channel_details.name {
            Some(name) => channel(requests, operation, &mut channels, name).await?,
            None => Dated::default(),
        };
        consumers.push(consumer.with(&channel));
    }
    Ok(consumers)
}

/// What the API says of a channel that several consumers may share, asked once.
async fn channel(
    requests: &Requests,
    operation: &'static str,
    seen: &mut BTreeMap<String, Dated>,
    name: &str,
) -> Result<Dated> {
    if let Some(known) = seen.get(name) {
        return Ok(known.clone());
    }
    let asked = requests.ask(operation, &format!("/channels/{}", escaped(name))).await;
    let known = match asked.and_then(|answer| answer.map(|answer| Dated::of(&answer, operation)).transpose()) {
        Ok(known) => known.unwrap_or_default(),
        // It is another user's, or has just gone, which some servers answer with an error of theirs.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Broker) => Dated::default(),
        Err(error) => return Err(error),
    };
    seen.insert(name.to_owned(), known.clone());
    Ok(known)
}

/// A channel's figures with when they were told, by the server's clock.
#[derive(Clone, Default)]
struct Dated {
    figures: ChannelFigures,
    date: Option<SystemTime>,
}

impl Dated {
    fn of(answer: &Answer, operation: &'static str) -> Result<Self> {
        Ok(Self { figures: answer.read(operation)?, date: answer.date() })
    }
}

/// A queue, of which only the consumers are asked for.
#[derive(Default, Deserialize)]
pub(super) struct Consumed {
    #[serde(default, deserialize_with = "or_default")]
    consumer_details: Vec<RawConsumer>,
}

#[derive(Clone, Deserialize)]
pub(super) struct RawConsumer {
    consumer_tag: String,
    #[serde(default, deserialize_with = "known")]
    prefetch_count: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    arguments: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    channel_details: RawChannel,
}

#[derive(Clone, Default, Deserialize)]
struct RawChannel {
    #[serde(default, deserialize_with = "known")]
    name: Option<String>,
}

/// What a channel says of itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct ChannelFigures {
    #[serde(rename = "messages_unacknowledged", default, deserialize_with = "known")]
    unacked: Option<u64>,
    #[serde(default, deserialize_with = "known")]
    idle_since: Option<String>,
}

impl RawConsumer {
    fn with(self, channel: &Dated) -> ConsumerFigures {
        let idle_since = channel.figures.idle_since.as_deref().and_then(moment::of_figures);
        // The header has whole seconds only, so something that just happened can seem to come.
        let idle = channel.date.zip(idle_since).map(|(now, since)| now.duration_since(since).unwrap_or_default());
        ConsumerFigures {
            tag: self.consumer_tag,
            prefetch: self.prefetch_count,
            arguments: self.arguments,
            unacked: channel.figures.unacked,
            idle,
        }
    }
}

#[cfg(test)]
impl Consumed {
    pub(super) fn into_consumers(self) -> impl Iterator<Item = RawConsumer> {
        self.consumer_details.into_iter()
    }
}

#[cfg(test)]
impl RawConsumer {
    pub(super) fn told(self, channel: &ChannelFigures) -> ConsumerFigures {
        self.with(&Dated { figures: channel.clone(), date: None })
    }
}
