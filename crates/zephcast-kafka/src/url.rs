//! Reading Kafka URLs.

use std::time::Duration;

use zephcast_core::{Endpoint, Result, Tls};

use crate::config::{GroupProtocol, KafkaConfig, OutOfRange, Sasl};
use crate::error;

const OPERATION: &str = "read URL";

impl KafkaConfig {
    /// Reads a URL: `kafka://host:port,host:port`, or `kafka+ssl://user:password@host:port,host:port` by TLS, always
    /// verified. Port 9092 is meant when none is given.
    ///
    /// | key | means |
    /// |---|---|
    /// | `sasl` | how a user logs in: `scram-sha-512` (default), `scram-sha-256`, or `plain`, with `kafka+ssl` only |
    /// | `tls-ca`, `tls-cert`, `tls-key` | PEM files, see [`Tls`]; with `kafka+ssl` only |
    /// | `group-protocol` | [`group_protocol`](Self::group_protocol): `classic`, `eager` or `consumer` |
    /// | `out-of-range` | [`out_of_range`](Self::out_of_range): `earliest`, `latest` or `fail` |
    /// | `static-membership` | [`static_membership`](Self::static_membership): `true` or `false` |
    /// | `groups-by-stream` | [`groups_by_stream`](Self::groups_by_stream): `true` or `false` |
    /// | `linger` | [`linger`](Self::linger) in milliseconds |
    /// | `max-message-bytes` | [`max_message_bytes`](Self::max_message_bytes) |
    /// | `commit-interval` | [`commit_interval`](Self::commit_interval) in milliseconds |
    /// | `max-poll-interval` | [`max_poll_interval`](Self::max_poll_interval) in milliseconds |
    /// | `partitions` | [`partitions`](Self::partitions) |
    /// | `request-timeout` | [`request_timeout`](Self::request_timeout) in milliseconds |
    ///
    /// A user means SASL and is never ignored: one without a password is refused, as Kafka takes no empty one.
    ///
    /// # Errors
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) saying what is wrong without repeating the URL: another
    /// scheme, a path, an unknown key, a fragment, a password that would go in clear text.
    pub fn from_url(url: &str) -> Result<Self> {
        Self::from_endpoint(&Endpoint::parse(url)?)
    }

    /// Reads a parsed URL, see [`from_url`](Self::from_url).
    ///
    /// # Errors
    /// As [`from_url`](Self::from_url).
    pub fn from_endpoint(endpoint: &Endpoint) -> Result<Self> {
        let secure = match endpoint.scheme() {
            "kafka" => false,
            "kafka+ssl" => true,
            scheme => return Err(invalid(format!("`{scheme}` is no scheme of Kafka"))),
        };
        let mut known = vec!["sasl", "group-protocol", "static-membership", "groups-by-stream", "partitions"];
        known.extend([
            "linger",
            "commit-interval",
            "max-poll-interval",
            "request-timeout",
            "max-message-bytes",
            "out-of-range",
        ]);
        if secure {
            known.extend(Tls::KEYS);
        }
        endpoint.allow_query(&known)?;
        if !endpoint.path().is_empty() {
            return Err(invalid("a Kafka has no path: nothing comes after the hosts but `?` and keys"));
        }

        let mut config = Self::new("localhost", Self::PORT);
        if !endpoint.hosts().is_empty() {
            let with_port = |(host, port): &(String, Option<u16>)| (host.clone(), port.unwrap_or(Self::PORT));
            config.hosts = endpoint.hosts().iter().map(with_port).collect();
        }
        config.user = endpoint.user().map(str::to_owned);
        config.password = endpoint.password().cloned();
        config.sasl = match endpoint.query("sasl") {
            Some(mechanism) => Some(Sasl::of(OPERATION, mechanism)?),
            None => None,
        };
        config.tls = if secure { Some(Tls::from_endpoint(endpoint)?) } else { None };
        config.read_group(endpoint)?;
        if let Some(text) = endpoint.query("partitions") {
            config.partitions = Some(text.parse().map_err(|_| invalid("`partitions` is a number from 1"))?);
        }
        if let Some(text) = endpoint.query("max-message-bytes") {
            config.max_message_bytes = text.parse().map_err(|_| invalid("`max-message-bytes` is a number from 1"))?;
        }
        for (key, setting) in [
            ("linger", &mut config.linger),
            ("commit-interval", &mut config.commit_interval),
            ("max-poll-interval", &mut config.max_poll_interval),
            ("request-timeout", &mut config.request_timeout),
        ] {
            if let Some(text) = endpoint.query(key) {
                let time = text.parse().map_err(|_| invalid(format!("`{key}` is a number of milliseconds")))?;
                *setting = Duration::from_millis(time);
            }
        }
        config.validate(OPERATION)?;
        Ok(config)
    }

    fn read_group(&mut self, endpoint: &Endpoint) -> Result<()> {
        self.group_protocol = match endpoint.query("group-protocol") {
            None | Some("classic") => GroupProtocol::Classic,
            Some("eager") => GroupProtocol::Eager,
            Some("consumer") => GroupProtocol::Consumer,
            Some(_) => return Err(invalid("`group-protocol` is classic, eager or consumer")),
        };
        self.out_of_range = match endpoint.query("out-of-range") {
            None | Some("earliest") => OutOfRange::Earliest,
            Some("latest") => OutOfRange::Latest,
            Some("fail") => OutOfRange::Fail,
            Some(_) => return Err(invalid("`out-of-range` is earliest, latest or fail")),
        };
        for (key, setting) in
            [("static-membership", &mut self.static_membership), ("groups-by-stream", &mut self.groups_by_stream)]
        {
            *setting = match endpoint.query(key) {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => return Err(invalid(format!("`{key}` is true or false"))),
            };
        }
        Ok(())
    }
}

/// One `host:port`, as in a URL.
pub(crate) fn read_host(operation: &'static str, text: &str) -> Result<(String, u16)> {
    let endpoint = Endpoint::parse(&format!("kafka://{text}")).ok();
    let plain = endpoint.filter(|endpoint| endpoint.user().is_none() && endpoint.password().is_none());
    match plain.as_ref().map(Endpoint::hosts) {
        Some([(host, port)]) => Ok((host.clone(), port.unwrap_or(KafkaConfig::PORT))),
        // It may hold a secret that was put in the wrong place.
        _ => Err(error::invalid(operation, "a broker is HOST:PORT, an IPv6 address in brackets")),
    }
}

fn invalid(message: impl Into<String>) -> zephcast_core::Error {
    error::invalid(OPERATION, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;
    use zephcast_core::ErrorKind;

    use super::*;

    #[test]
    fn reads_every_part() {
        let url = "kafka+ssl://app:s%20p@a,[::1]:7000?sasl=plain&tls-ca=/ca.pem&tls-cert=/c&tls-key=/k\
                   &group-protocol=consumer&static-membership=true&linger=0&commit-interval=50\
                   &max-poll-interval=60000&request-timeout=3000&out-of-range=fail&max-message-bytes=5000";
        let config = KafkaConfig::from_url(url).unwrap();
        assert_eq!(config.servers(), "a:9092,[::1]:7000");
        assert_eq!(config.user.as_deref(), Some("app"));
        assert_eq!(config.password.as_ref().map(ExposeSecret::expose_secret), Some("s p"));
        assert_eq!((config.sasl, config.group_protocol), (Some(Sasl::Plain), GroupProtocol::Consumer));
        assert_eq!(config.tls, Some(Tls::new().ca("/ca.pem").identity("/c", "/k")));
        assert!(config.static_membership && config.linger.is_zero());
        assert_eq!((config.out_of_range, config.max_message_bytes), (OutOfRange::Fail, 5_000));
        assert_eq!(config.commit_interval, Duration::from_millis(50));
        assert_eq!(config.max_poll_interval, Duration::from_secs(60));
        assert_eq!(config.request_timeout, Duration::from_secs(3));
        assert_eq!(KafkaConfig::from_url("kafka://").unwrap().servers(), "localhost:9092");
    }

    #[test]
    fn says_what_is_wrong() {
        for (url, part) in [
            ("http://h", "no scheme of Kafka"),
            ("kafka+tls://h", "no scheme of Kafka"),
            ("kafka://h/orders", "no path"),
            ("kafka://h/#insecure", "fragment"),
            ("kafka://h?tls-ca=/x", "unknown key"),
            ("kafka://h?acks=0", "unknown key"),
            ("kafka+ssl://h?verify=none", "unknown key"),
            ("kafka+ssl://h?tls-key=/x", "stand together"),
            ("kafka://:pw@h", "a password needs a user"),
            ("kafka://h?sasl=plain", "needs a user"),
            ("kafka://h?out-of-range=now", "earliest, latest or fail"),
            ("kafka://u@h", "a name and a password"),
            ("kafka+ssl://u:@h", "a name and a password"),
            ("kafka://u:p@h?sasl=plain", "clear text"),
            ("kafka+ssl://u:p@h?sasl=oauthbearer", "token provider"),
            ("kafka+ssl://u:p@h?sasl=md5", "no SASL mechanism"),
            ("kafka://h?linger=x", "milliseconds"),
            ("kafka://h?max-message-bytes=x", "number"),
            ("kafka://h?linger=900001", "linger"),
            ("kafka://h?request-timeout=1", "request timeout"),
            ("kafka://h?commit-interval=0", "commit interval"),
            ("kafka://h?max-poll-interval=0", "max poll interval"),
            ("kafka://h?group-protocol=share", "classic, eager or consumer"),
            ("kafka://h?static-membership=yes", "true or false"),
        ] {
            let error = KafkaConfig::from_url(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.to_string().contains(part), "{url}: {error}");
        }
        let error = KafkaConfig::from_url("kafka+ssl://u:p@h?sasl=gssapi").expect_err("no Kerberos");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }

    proptest! {
        #[test]
        fn any_url_is_read_or_refused_and_shows_no_password(rest in "[a-z0-9:/?&=,@%-]{0,40}") {
            for scheme in ["kafka", "kafka+ssl"] {
                let url = format!("{scheme}://u:canary@{rest}");
                let shown = match KafkaConfig::from_url(&url) {
                    Ok(config) => format!("{config:?}"),
                    Err(error) => format!("{error} {error:?}"),
                };
                prop_assert!(!shown.contains("canary"), "{}", shown);
            }
        }
    }
}
