//! Reading Redis URLs.

use std::time::Duration;

use secrecy::ExposeSecret;
use zephcast_core::{Endpoint, Result, Tls};

use crate::config::{RedisConfig, Topology};
use crate::error;

const OPERATION: &str = "read URL";

impl RedisConfig {
    /// Reads a URL:
    ///
    /// | URL | means |
    /// |---|---|
    /// | `redis://user:password@host:port/db` | one server; `valkey://` is the same |
    /// | `redis+sentinel://host:port,host:port/PRIMARY?db=N` | sentinels and the name of their primary |
    /// | `redis+cluster://host:port,host:port` | a cluster by any of its nodes |
    /// | `rediss://...`, `rediss+sentinel://...`, `rediss+cluster://...` | the same by TLS, always verified |
    ///
    /// | key | means |
    /// |---|---|
    /// | `payload-field` | [`payload_field`](Self::payload_field) |
    /// | `command-timeout` | [`command_timeout`](Self::command_timeout) in milliseconds |
    /// | `tls-ca`, `tls-cert`, `tls-key` | PEM files, see [`Tls`]; with `rediss` only |
    /// | `db`, `sentinel-user`, `sentinel-password` | with sentinels only |
    ///
    /// A user without a password logs in with an empty one.
    ///
    /// # Errors
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) saying what is wrong without repeating the URL: another
    /// scheme, an unknown key, a fragment, a database that is no number.
    pub fn from_url(url: &str) -> Result<Self> {
        Self::from_endpoint(&Endpoint::parse(url)?)
    }

    /// Reads a parsed URL, see [`from_url`](Self::from_url).
    ///
    /// # Errors
    /// As [`from_url`](Self::from_url).
    pub fn from_endpoint(endpoint: &Endpoint) -> Result<Self> {
        let (secure, kind) = read_scheme(endpoint.scheme())?;
        let mut known = vec!["payload-field", "command-timeout"];
        if secure {
            known.extend(Tls::KEYS);
        }
        if kind == "sentinel" {
            known.extend(["db", "sentinel-user", "sentinel-password"]);
        }
        endpoint.allow_query(&known)?;

        let default_port = if kind == "sentinel" { Self::SENTINEL_PORT } else { Self::PORT };
        let mut config = Self::new("localhost", default_port);
        if !endpoint.hosts().is_empty() {
            let with_port = |(host, port): &(String, Option<u16>)| (host.clone(), port.unwrap_or(default_port));
            config.hosts = endpoint.hosts().iter().map(with_port).collect();
        }
        match kind {
            "sentinel" => config.read_sentinel(endpoint)?,
            "cluster" if !matches!(endpoint.path(), "" | "0") => {
                return Err(invalid("a cluster has database 0 only"));
            }
            "cluster" => config.topology = Topology::Cluster,
            _ if config.hosts.len() > 1 => {
                return Err(invalid("one server has one host; write redis+sentinel:// or redis+cluster:// for more"));
            }
            _ => config.database = read_database(endpoint.path())?,
        }
        config.user = endpoint.user().map(str::to_owned);
        config.password = endpoint.password().cloned();
        config.tls = if secure { Some(Tls::from_endpoint(endpoint)?) } else { None };
        if let Some(field) = endpoint.query("payload-field") {
            config.payload_field = field.to_owned();
        }
        if let Some(text) = endpoint.query("command-timeout") {
            let timeout = text.parse().map_err(|_| invalid("`command-timeout` is a number of milliseconds"))?;
            config.command_timeout = Duration::from_millis(timeout);
        }
        config.validate(OPERATION)?;
        Ok(config)
    }

    fn read_sentinel(&mut self, endpoint: &Endpoint) -> Result<()> {
        if endpoint.path().is_empty() || endpoint.path().contains('/') {
            return Err(invalid("after the sentinels comes `/` and the name of their primary"));
        }
        self.topology = Topology::Sentinel { primary: endpoint.path().to_owned() };
        self.database = read_database(endpoint.query("db").unwrap_or_default())?;
        self.sentinel_user = endpoint.query("sentinel-user").map(str::to_owned);
        self.sentinel_password = endpoint.query("sentinel-password").map(Into::into);
        Ok(())
    }

    /// What to log in with: a user without a password has an empty one, so that no user is ever ignored.
    pub(crate) fn credentials(&self) -> (Option<String>, Option<String>) {
        let password = self.password.as_ref().map(|password| password.expose_secret().to_owned());
        let password = password.or_else(|| self.user.as_ref().map(|_| String::new()));
        (self.user.clone(), password)
    }
}

fn invalid(message: impl Into<String>) -> zephcast_core::Error {
    error::invalid(OPERATION, message)
}

fn read_scheme(scheme: &str) -> Result<(bool, &str)> {
    let (base, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
    let secure = match base {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(invalid(format!("`{scheme}` is no scheme of Redis"))),
    };
    match kind {
        "" | "sentinel" | "cluster" => Ok((secure, kind)),
        _ => Err(invalid(format!("`{scheme}` is no scheme of Redis"))),
    }
}

fn read_database(text: &str) -> Result<u8> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| invalid("the database is a number from 0 to 255"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zephcast_core::ErrorKind;

    use super::*;

    #[test]
    fn reads_one_server() {
        let config = RedisConfig::from_url("redis://app:s%20p@[::1]:7000/3?payload-field=body").unwrap();
        assert_eq!(config.hosts, [("::1".to_owned(), 7000)]);
        assert_eq!((config.database, config.payload_field.as_str()), (3, "body"));
        assert_eq!(config.credentials(), (Some("app".into()), Some("s p".into())));
        assert!(config.tls.is_none());
        assert_eq!(RedisConfig::from_url("redis://").unwrap().servers(), "localhost:6379");
    }

    #[test]
    fn a_user_without_a_password_is_not_ignored() {
        let config = RedisConfig::from_url("redis://app@h").unwrap();
        assert_eq!(config.credentials(), (Some("app".into()), Some(String::new())));
    }

    #[test]
    fn reads_sentinels_and_clusters() {
        let config = RedisConfig::from_url("rediss+sentinel://a,b:1/main?db=2&tls-ca=/ca.pem").unwrap();
        assert_eq!(config.topology, Topology::Sentinel { primary: "main".into() });
        assert_eq!((config.servers().as_str(), config.database), ("a:26379,b:1", 2));
        assert_eq!(config.tls, Some(Tls::new().ca("/ca.pem")));
        let config = RedisConfig::from_url("redis+cluster://a,b:1").unwrap();
        assert_eq!((config.topology.clone(), config.servers().as_str()), (Topology::Cluster, "a:6379,b:1"));
    }

    #[test]
    fn says_what_is_wrong() {
        for (url, part) in [
            ("http://h", "no scheme of Redis"),
            ("redis+x://h", "no scheme of Redis"),
            ("redis://h/x", "number"),
            ("redis://h/300", "number"),
            ("redis://h/#insecure", "fragment"),
            ("redis://a,b", "one server has one host"),
            ("redis://h?tls-ca=/x", "unknown key"),
            ("redis://h?timeout=1", "unknown key"),
            ("redis+sentinel://h", "name of their primary"),
            ("redis+cluster://h/1", "database 0 only"),
            ("rediss://h?tls-key=/x", "stand together"),
            ("redis://h?payload-field=zephcast-x", "reserved"),
            ("redis://h?command-timeout=0", "longer than zero"),
            ("redis://h?command-timeout=x", "milliseconds"),
        ] {
            let error = RedisConfig::from_url(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(error.to_string().contains(part), "{url}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_url_is_read_or_refused_and_shows_no_password(rest in "[a-z0-9:/?&=,@%]{0,40}") {
            for scheme in ["redis", "rediss+sentinel", "valkey+cluster"] {
                let url = format!("{scheme}://u:canary@{rest}");
                let shown = match RedisConfig::from_url(&url) {
                    Ok(config) => format!("{config:?}"),
                    Err(error) => format!("{error} {error:?}"),
                };
                prop_assert!(!shown.contains("canary"), "{}", shown);
            }
        }
    }
}
