//! Brokers by names that have no secrets.

use zephcast::Endpoint;

use crate::exit::Failure;

/// A broker to be watched.
#[derive(Debug)]
pub(super) struct Named {
    /// Scheme, hosts and path: nobody's name or password, and nothing of the query.
    pub(super) name: String,
    pub(super) url: String,
}

/// Reads the URLs.
///
/// # Errors
/// Usage: there is none, one cannot be read, or two have one name.
pub(super) fn brokers(urls: &[String]) -> Result<Vec<Named>, Failure> {
    if urls.is_empty() {
        return Err(Failure::no_broker());
    }
    let mut brokers: Vec<Named> = Vec::with_capacity(urls.len());
    for url in urls {
        let name = name(&Endpoint::parse(url)?);
        if brokers.iter().any(|broker| broker.name == name) {
            return Err(Failure::usage(format!("{name} is named twice")));
        }
        brokers.push(Named { name, url: url.clone() });
    }
    Ok(brokers)
}

fn name(endpoint: &Endpoint) -> String {
    let host = |(host, port): &(String, Option<u16>)| {
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    };
    let hosts: Vec<_> = endpoint.hosts().iter().map(host).collect();
    let path = if endpoint.path().is_empty() { String::new() } else { format!("/{}", endpoint.path()) };
    format!("{}://{}{path}", endpoint.scheme(), hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(urls: &[&str]) -> Result<Vec<String>, String> {
        let urls: Vec<_> = urls.iter().map(ToString::to_string).collect();
        let brokers = brokers(&urls).map_err(|failure| failure.to_string())?;
        Ok(brokers.into_iter().map(|broker| broker.name).collect())
    }

    #[test]
    fn a_name_tells_the_server_and_no_secret() {
        let urls = ["redis://app:s3cret@[::1]:6379/2", "kafka+ssl://u:p@a:1,b:2?sasl=scram-sha-512", "redis://host"];
        assert_eq!(names(&urls).unwrap(), ["redis://[::1]:6379/2", "kafka+ssl://a:1,b:2", "redis://host"]);
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let twice = names(&["redis://a:x@h:1", "redis://b:y@h:1"]).unwrap_err();
        assert!(twice.contains("redis://h:1 is named twice"), "{twice}");
        assert!(names(&[]).unwrap_err().contains("--url"));
        assert!(names(&["redis://h", "nonsense"]).unwrap_err().contains("SCHEME"));
    }
}
