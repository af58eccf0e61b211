//! Reading AMQP URLs.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use zephcast_core::{Endpoint, Result, Tls};

use crate::config::{Binding, BindingValue, Credentials, DeadLetters, Exchange, QueueType, RabbitConfig, Topology};
use crate::error;

const OPERATION: &str = "read URL";

/// What a URL's query may say, beside TLS.
const KEYS: [&str; 6] = ["management", "request-timeout", "heartbeat", "consumer-timeout", "auth", "topology"];

/// What a URL's query may say of exchanges, queues and consumers.
const ROUTING_KEYS: [&str; 13] = [
    "exchange",
    "alternate-exchange",
    "binding",
    "binding-arguments",
    "queue",
    "queue-type",
    "single-active-consumer",
    "exclusive-consumer",
    "consumer-priority",
    "max-length",
    "message-ttl",
    "max-priority",
    "dead-letters",
];

/// What the settings of a stream may say.
const STREAM_KEYS: [&str; 9] = [
    "exchange",
    "alternate-exchange",
    "binding",
    "binding-arguments",
    "queue-type",
    "single-active-consumer",
    "max-length",
    "message-ttl",
    "max-priority",
];

impl RabbitConfig {
    /// Reads a URL: `amqp://user:password@host:port,host:port/vhost`, or `amqps://...` for the same by TLS, always
    /// verified. Without a path the virtual host is `/`; in one, `/` is written `%2f`.
    ///
    /// | key | means |
    /// |---|---|
    /// | `management` | [`management`](Self::management), URLs, or more hosts of one, separated by commas, an `@` in them written `%40`; by default the variable `RABBITMQ_MANAGEMENT_URL` |
    /// | `request-timeout` | [`request_timeout`](Self::request_timeout) in milliseconds |
    /// | `heartbeat` | [`heartbeat`](Self::heartbeat) in seconds |
    /// | `consumer-timeout` | [`consumer_timeout`](Self::consumer_timeout) in seconds, 0 for none |
    /// | `auth` | `plain`, or `external` for the client's certificate |
    /// | `exchange` | [`exchange`](Self::exchange): `topic`, `fanout`, `direct`, `headers`, `x-consistent-hash`, `default` |
    /// | `alternate-exchange` | [`alternate_exchange`](Self::alternate_exchange) |
    /// | `binding` | [`bindings`](Self::bindings): routing keys, separated by commas |
    /// | `binding-arguments` | [`arguments`](Binding::arguments) of each of them, or of one without a routing key, with `exchange=headers`: a JSON object, as `{"x-match":"any","format":"pdf"}` |
    /// | `queue` | [`queue`](Self::queue) |
    /// | `queue-type` | [`queue_type`](Self::queue_type): `quorum`, `classic`, `stream` |
    /// | `single-active-consumer`, `exclusive-consumer` | `true` or `false`, see [`single_active_consumer`](Self::single_active_consumer) |
    /// | `consumer-priority` | [`consumer_priority`](Self::consumer_priority) |
    /// | `max-length`, `max-priority` | [`max_length`](Self::max_length), [`max_priority`](Self::max_priority) |
    /// | `message-ttl` | [`message_ttl`](Self::message_ttl) in milliseconds |
    /// | `dead-letters` | [`dead_letters`](Self::dead_letters): `group`, `native` |
    /// | `topology` | [`topology`](Self::topology): `declare`, `check`, `expect` |
    /// | `tls-ca`, `tls-cert`, `tls-key` | PEM files, see [`Tls`]; with `amqps` only |
    ///
    /// # Errors
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) saying what is wrong without repeating the URL: another
    /// scheme, an unknown key, a fragment, a value that cannot be used.
    pub fn from_url(url: &str) -> Result<Self> {
        Self::from_endpoint(&Endpoint::parse(url)?)
    }

    /// Reads a parsed URL, see [`from_url`](Self::from_url).
    ///
    /// # Errors
    /// As [`from_url`](Self::from_url).
    pub fn from_endpoint(endpoint: &Endpoint) -> Result<Self> {
        let secure = match endpoint.scheme() {
            "amqp" => false,
            "amqps" => true,
            scheme => return Err(invalid(format!("`{scheme}` is no scheme of RabbitMQ"))),
        };
        let mut known = [&KEYS[..], &ROUTING_KEYS].concat();
        if secure {
            known.extend(Tls::KEYS);
        }
        endpoint.allow_query(&known)?;
        let default_port = if secure { Self::TLS_PORT } else { Self::PORT };
        let with_port = |(host, port): &(String, Option<u16>)| (host.clone(), port.unwrap_or(default_port));
        let mut config = match endpoint.hosts() {
            [] => Self::new("localhost", default_port),
            hosts => Self::nodes(hosts.iter().map(with_port)),
        };
        config.tls = if secure { Some(Tls::from_endpoint(endpoint)?) } else { None };
        config.credentials = read_credentials(endpoint)?.unwrap_or(config.credentials);
        if !endpoint.path().is_empty() {
            config.vhost = endpoint.path().to_owned();
        }
        config.management = read_management(endpoint)?;
        let query = |key: &str| endpoint.query(key);
        config.read_routing(&query)?;
        let topologies = [Topology::Declare, Topology::Check, Topology::Expect];
        if let Some(topology) = choose(&query, "topology", &topologies, |topology| topology.as_str())? {
            config.topology = topology;
        }
        if let Some(milliseconds) = read(&query, "request-timeout", "a number of milliseconds")? {
            config.request_timeout = Duration::from_millis(milliseconds);
        }
        if let Some(seconds) = read(&query, "heartbeat", "a number of seconds")? {
            config.heartbeat = Duration::from_secs(seconds);
        }
        if let Some(seconds) = read(&query, "consumer-timeout", "a number of seconds, or 0 for none")? {
            config.consumer_timeout = Some(Duration::from_secs(seconds)).filter(|timeout| !timeout.is_zero());
        }
        config.validate(OPERATION)?;
        Ok(config)
    }

    /// These settings with those of one stream, which are some of a URL's.
    ///
    /// # Errors
    /// `InvalidInput` for an unknown setting or a value that cannot be used.
    pub(crate) fn with_settings(&self, operation: &'static str, settings: &BTreeMap<String, String>) -> Result<Self> {
        if let Some(unknown) = settings.keys().find(|key| !STREAM_KEYS.contains(&key.as_str())) {
            let text = format!("`{unknown}` is no setting of a stream; it has {}", STREAM_KEYS.join(", "));
            return Err(error::invalid(operation, text));
        }
        if settings.get("exchange").is_some_and(|exchange| exchange == Exchange::Default.as_str()) {
            let text = "whoever uses a stream without an exchange has to know: put `exchange=default` into the URL";
            return Err(error::invalid(operation, text));
        }
        let mut config = self.clone();
        config.read_routing(&|key: &str| settings.get(key).map(String::as_str))?;
        config.validate(operation)?;
        Ok(config)
    }

    /// Whether a stream's setting is one of its exchange, and not of its groups' queues.
    pub(crate) fn is_of_exchange(key: &str) -> bool {
        matches!(key, "exchange" | "alternate-exchange")
    }

    fn read_routing<'a>(&mut self, value: Values<'_, 'a>) -> Result<()> {
        if let Some(exchange) = choose(value, "exchange", &Exchange::ALL, |exchange| exchange.as_str())? {
            self.exchange = exchange;
        }
        if let Some(name) = value("alternate-exchange") {
            self.alternate_exchange = Some(name.to_owned());
        }
        if value("binding-arguments").is_some() && self.exchange != Exchange::Headers {
            return Err(invalid("only a headers exchange looks at `binding-arguments`: add `exchange=headers`"));
        }
        if let Some(bindings) = read_bindings(value)? {
            self.bindings = bindings;
        }
        if let Some(name) = value("queue") {
            self.queue = Some(name.to_owned());
        }
        let kinds = [QueueType::Quorum, QueueType::Classic, QueueType::Stream];
        if let Some(kind) = choose(value, "queue-type", &kinds, |kind| kind.as_str())? {
            self.queue_type = kind;
        }
        let ways = [DeadLetters::Group, DeadLetters::Native];
        if let Some(dead_letters) = choose(value, "dead-letters", &ways, |ways| ways.as_str())? {
            self.dead_letters = dead_letters;
        }
        if let Some(single) = read(value, "single-active-consumer", "`true` or `false`")? {
            self.single_active_consumer = single;
        }
        if let Some(exclusive) = read(value, "exclusive-consumer", "`true` or `false`")? {
            self.exclusive_consumer = exclusive;
        }
        if let Some(priority) = read(value, "consumer-priority", "a number")? {
            self.consumer_priority = priority;
        }
        self.max_length = read(value, "max-length", "a number of messages")?.or(self.max_length);
        self.max_priority = read(value, "max-priority", "a number up to 255")?.or(self.max_priority);
        let ttl = read(value, "message-ttl", "a number of milliseconds")?;
        self.message_ttl = ttl.map(Duration::from_millis).or(self.message_ttl);
        Ok(())
    }
}

fn invalid(message: impl Into<String>) -> zephcast_core::Error {
    error::invalid(OPERATION, message)
}

/// A user without a password has an empty one, so that no user is ever ignored.
fn read_credentials(endpoint: &Endpoint) -> Result<Option<Credentials>> {
    let user = endpoint.user();
    match endpoint.query("auth") {
        Some("external") if user.is_some() => Err(invalid("with `auth=external` the certificate says who logs in")),
        Some("external") => Ok(Some(Credentials::Certificate)),
        Some(other) if other != "plain" => Err(invalid(format!("`auth` is `plain` or `external`, not `{other}`"))),
        _ if user.is_none() && endpoint.password().is_some() => Err(invalid("a password without a user")),
        _ => {
            let password = endpoint.password().cloned().unwrap_or_else(|| SecretString::from(String::new()));
            Ok(user.map(|user| Credentials::Password { user: user.to_owned(), password }))
        }
    }
}

/// URLs and hosts, separated by commas: what begins with no scheme is one more host of the URL before it.
fn read_management(endpoint: &Endpoint) -> Result<Vec<Endpoint>> {
    let from_environment = || std::env::var("RABBITMQ_MANAGEMENT_URL").ok().filter(|url| !url.is_empty());
    let named = endpoint.query("management").map(str::to_owned).or_else(from_environment);
    let mut urls: Vec<String> = Vec::new();
    for part in named.iter().flat_map(|named| named.split(',')) {
        match urls.last_mut() {
            Some(url) if !part.contains("://") => url.extend([",", part]),
            _ => urls.push(part.to_owned()),
        }
    }
    urls.iter().map(|url| read_management_url(url)).collect()
}

fn read_management_url(url: &str) -> Result<Endpoint> {
    let refuse = |why: &str| invalid(format!("the URL of the management API: {why}"));
    let management = Endpoint::parse(url).map_err(|error| refuse(error.message()))?;
    if !matches!(management.scheme(), "http" | "https") {
        return Err(refuse("it begins with http:// or https://"));
    }
    if management.hosts().is_empty() {
        return Err(refuse("the host is missing"));
    }
    if management.path().contains(',') {
        return Err(refuse("with a path for each host, write every URL in full"));
    }
    management.allow_query(&[]).map_err(|error| refuse(error.message()))?;
    Ok(management)
}

fn read_bindings(value: Values<'_, '_>) -> Result<Option<Vec<Binding>>> {
    let keys = value("binding").map(|keys| keys.split(',').map(Binding::key).collect::<Vec<_>>());
    let Some(arguments) = value("binding-arguments") else { return Ok(keys) };
    let arguments: BTreeMap<String, BindingValue> = serde_json::from_str(arguments).map_err(|_| {
        invalid(
            "`binding-arguments` is a JSON object of strings, integers, `true`, `false` and `null` for any value, as \
             `{\"x-match\":\"any\",\"format\":\"pdf\"}`",
        )
    })?;
    let keys = keys.unwrap_or_else(|| vec![Binding::default()]);
    Ok(Some(keys.into_iter().map(|key| Binding { arguments: arguments.clone(), ..key }).collect()))
}

/// The value of a key, if it is given.
type Values<'f, 'a> = &'f dyn Fn(&str) -> Option<&'a str>;

fn read<T: FromStr>(value: Values<'_, '_>, key: &str, what: &str) -> Result<Option<T>> {
    let parse = |text: &str| text.parse().map_err(|_| invalid(format!("`{key}` is {what}")));
    value(key).map(parse).transpose()
}

fn choose<T: Clone>(value: Values<'_, '_>, key: &str, all: &[T], name: impl Fn(&T) -> &str) -> Result<Option<T>> {
    let Some(text) = value(key) else { return Ok(None) };
    match all.iter().find(|one| name(one) == text) {
        Some(chosen) => Ok(Some(chosen.clone())),
        None => {
            let names = all.iter().map(|one| format!("`{}`", name(one))).collect::<Vec<_>>().join(", ");
            Err(invalid(format!("`{key}` is one of {names}, not `{text}`")))
        }
    }
}

#[cfg(test)]
mod tests;
