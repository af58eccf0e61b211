//! URLs of brokers, as users and the environment give them.

use std::env;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Broker;

pub(super) fn from_environment(broker: Broker) -> Option<String> {
    env::var(broker.recipe().url_variable).ok().filter(|url| !url.is_empty())
}

/// Connects to the first server of a URL; only that, since the URL may ask for TLS or a password.
pub(super) async fn reachable(broker: Broker, url: &str) -> anyhow::Result<()> {
    let server = first_server(url, broker.recipe().default_port)
        .with_context(|| format!("{} is no URL with a host", redacted(url)))?;
    let connected = timeout(Duration::from_secs(5), TcpStream::connect(&server)).await;
    connected
        .with_context(|| format!("{server}: no answer in 5 s"))?
        .with_context(|| format!("{server}: no server"))?;
    Ok(())
}

fn first_server(url: &str, default_port: u16) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !authority.contains('@') && after.contains('@') {
        // A password that is not written as a URL has it: no part of that is a host.
        return None;
    }
    let host = authority.rsplit('@').next()?.split(',').next().filter(|host| !host.is_empty())?;
    match host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        true => Some(host.to_owned()),
        false => Some(format!("{host}:{default_port}")),
    }
}

/// A URL without its user, its password and its query, which can hold secrets too.
pub(super) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "***".to_owned() };
    let (shown, hidden) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    match shown.rsplit_once('@') {
        Some((_, after)) => format!("{scheme}://***@{after}"),
        // The query begins within a password, or has one.
        None if hidden.contains('@') => format!("{scheme}://***"),
        None => format!("{scheme}://{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{first_server, redacted};

    #[test]
    fn the_first_server_of_a_url_is_found() {
        for (url, server) in [
            ("redis://localhost", Some("localhost:6379")),
            ("redis://127.0.0.1:16399/3?x=y", Some("127.0.0.1:16399")),
            ("rediss://user:p%40ss@cache.example:7000", Some("cache.example:7000")),
            ("redis+cluster://a:1,b:2", Some("a:1")),
            ("redis://[::1]:7", Some("[::1]:7")),
            ("redis://", None),
            ("redis://:pass/word@host", None),
            ("localhost:6379", None),
        ] {
            assert_eq!(first_server(url, 6379).as_deref(), server, "{url}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(redacted("rediss://me:canary@host:1/0"), "rediss://***@host:1/0");
        assert_eq!(redacted("redis://host:1"), "redis://host:1");
        assert_eq!(redacted("redis+sentinel://h:1,i/main?sentinel-password=canary"), "redis+sentinel://h:1,i/main");
        for url in [
            "redis://h/0?sentinel-password=x@canary",
            "redis://u:canary@h?tls-key=canary@canary",
            "redis://:canary?canary@h",
            "redis://:canary#canary@h",
            "canary",
        ] {
            assert!(!redacted(url).contains("canary"), "{url}: {}", redacted(url));
        }
    }
}
