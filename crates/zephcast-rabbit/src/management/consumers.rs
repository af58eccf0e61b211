//! The consumers of a queue, with what their channels and connections say.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;
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
    /// Whether it is given messages, which of several at a queue with a single active consumer only one is.
    pub(crate) active: Option<bool>,
    pub(crate) exclusive: Option<bool>,
    pub(crate) arguments: Map<String, Value>,
    /// The server's name of its channel.
    pub(crate) channel: Option<String>,
    /// The server's name of its connection.
    pub(crate) connection: Option<String>,
    /// The name that the client gave its connection.
    pub(crate) connection_name: Option<String>,
    /// `HOST:PORT` of the client.
    pub(crate) peer: Option<String>,
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
    let (mut channels, mut connections) = (BTreeMap::new(), BTreeMap::new());
    let mut consumers = Vec::new();
    for consumer in consumed.unwrap_or_default().consumer_details {
        let place = &consumer.channel_details;
        let channel = known_of(requests, operation, &mut channels, "channels", place.name.as_deref()).await?;
        let connection =
            known_of(requests, operation, &mut connections, "connections", place.connection_name.as_deref()).await?;
        consumers.push(consumer.with(&channel, &connection));
    }
    Ok(consumers)
}

/// What the API says of a thing that several consumers may share, asked once.
async fn known_of<T: DeserializeOwned + Clone + Default>(
    requests: &Requests,
    operation: &'static str,
    seen: &mut BTreeMap<String, Dated<T>>,
    what: &str,
    name: Option<&str>,
) -> Result<Dated<T>> {
    let Some(name) = name else { return Ok(Dated::default()) };
    if let Some(known) = seen.get(name) {
        return Ok(known.clone());
    }
    let path = format!("/{what}/{}", escaped(name));
    let asked = requests.ask(operation, &path).await;
    let known = match asked.and_then(|answer| answer.map(|answer| Dated::of(&answer, operation)).transpose()) {
        Ok(known) => known.unwrap_or_default(),
        // It is another user's, or has just gone, which some servers answer with an error of theirs.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Broker) => Dated::default(),
        Err(error) => return Err(error),
    };
    seen.insert(name.to_owned(), known.clone());
    Ok(known)
}

/// Figures with when they were told, by the server's clock.
#[derive(Clone, Default)]
struct Dated<T> {
    figures: T,
    date: Option<SystemTime>,
}

impl<T: DeserializeOwned> Dated<T> {
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
    #[serde(default, deserialize_with = "known")]
    active: Option<bool>,
    #[serde(default, deserialize_with = "known")]
    exclusive: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    arguments: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    channel_details: RawChannel,
}

#[derive(Clone, Default, Deserialize)]
struct RawChannel {
    #[serde(default, deserialize_with = "known")]
    name: Option<String>,
    #[serde(default, deserialize_with = "known")]
    connection_name: Option<String>,
    #[serde(default, deserialize_with = "known")]
    peer_host: Option<String>,
    #[serde(default, deserialize_with = "known")]
    peer_port: Option<u16>,
}

/// What a channel says of itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct ChannelFigures {
    #[serde(rename = "messages_unacknowledged", default, deserialize_with = "known")]
    unacked: Option<u64>,
    #[serde(default, deserialize_with = "known")]
    idle_since: Option<String>,
}

/// What a connection says of itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct ConnectionFigures {
    #[serde(default, deserialize_with = "known")]
    user_provided_name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    client_properties: Map<String, Value>,
}

impl RawConsumer {
    fn with(self, channel: &Dated<ChannelFigures>, connection: &Dated<ConnectionFigures>) -> ConsumerFigures {
        let place = self.channel_details;
        let idle_since = channel.figures.idle_since.as_deref().and_then(moment::of_figures);
        // The header has whole seconds only, so something that just happened can seem to come.
        let idle = channel.date.zip(idle_since).map(|(now, since)| now.duration_since(since).unwrap_or_default());
        ConsumerFigures {
            tag: self.consumer_tag,
            prefetch: self.prefetch_count,
            active: self.active,
            exclusive: self.exclusive,
            arguments: self.arguments,
            channel: place.name,
            connection: place.connection_name,
            connection_name: connection.figures.given_name(),
            peer: place.peer_host.zip(place.peer_port).map(|(host, port)| match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            }),
            unacked: channel.figures.unacked,
            idle,
        }
    }
}

impl ConnectionFigures {
    fn given_name(&self) -> Option<String> {
        let property = || Some(self.client_properties.get("connection_name")?.as_str()?.to_owned());
        self.user_provided_name.clone().or_else(property)
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
    pub(super) fn told(self, channel: &ChannelFigures, connection: &ConnectionFigures) -> ConsumerFigures {
        let channel = Dated { figures: channel.clone(), date: None };
        self.with(&channel, &Dated { figures: connection.clone(), date: None })
    }
}
