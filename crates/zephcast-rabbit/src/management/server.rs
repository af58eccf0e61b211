//! Where the API is and how it is reached.

use std::time::Duration;
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zephcast_core::{Endpoint, ErrorKind, Result, Tls};

use super::answer::NOT_THERE;
use super::login::{Login, Shown};
use super::path;
use crate::config::Credentials;
use crate::error::{error, invalid};

/// Where a connection's bytes go.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A server's address and what is shown to it.
#[derive(Clone)]
pub(super) struct Server {
    host: Host,
    /// Before `/api`, where a proxy or a setting has put it; without a `/` at its end.
    base: String,
    login: Login,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsConnector>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Host {
    name: String,
    port: u16,
}

const OPERATION: &str = "read management URL";

/// A server that is not there at all, and says so by nothing, is not waited for as one that thinks.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

impl Server {
    /// One for each host.
    pub(super) fn all(endpoint: &Endpoint, credentials: &Credentials, tls: Option<&Tls>) -> Result<Vec<Self>> {
        // Without a port it is that of any URL, not the one that RabbitMQ itself would take.
        let (usual_port, known_keys) = match endpoint.scheme() {
            "http" => (80, &[][..]),
            "https" => (443, &Tls::KEYS[..]),
            scheme => return Err(invalid(OPERATION, format!("`{scheme}` is not `http` or `https`"))),
        };
        endpoint.allow_query(known_keys)?;
        let host = |(name, port): &(String, Option<u16>)| Host { name: name.clone(), port: port.unwrap_or(usual_port) };
        #[cfg(not(feature = "tls"))]
        without_tls(endpoint, tls)?;
        let mut hosts = endpoint.hosts().iter().map(host);
        let first = Self {
            host: hosts.next().ok_or_else(|| invalid(OPERATION, "the host is missing"))?,
            base: base(endpoint.path()),
            login: Login::new(OPERATION, endpoint, credentials)?,
            #[cfg(feature = "tls")]
            tls: connector(endpoint, tls)?,
        };
        let others: Vec<Self> = hosts.map(|host| Self { host, ..first.clone() }).collect();
        Ok([vec![first], others].concat())
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }

    /// What to show to it now.
    pub(super) fn login(&self, operation: &'static str) -> Result<Shown> {
        self.login.shown(operation, &self.host)
    }

    /// The path of what is at `path` of the API.
    pub(super) fn at(&self, path: &str) -> String {
        format!("{}/api{path}", self.base)
    }

    pub(super) async fn connect(&self, operation: &'static str) -> Result<Box<dyn Stream>> {
        let host = &self.host;
        let connected = timeout(CONNECT_LIMIT, TcpStream::connect((host.name.as_str(), host.port))).await;
        let connected = connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        let tcp = connected.map_err(|source| {
            let message = format!("the management API at {host} cannot be reached");
            error(ErrorKind::Unavailable, operation, message).advise(NOT_THERE).caused_by(source)
        })?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let name = rustls::pki_types::ServerName::try_from(host.name.clone())
                .map_err(|_| invalid(operation, format!("the management API at {host}: this is no host name")))?;
            let stream = tls.connect(name, tcp).await.map_err(|source| untrusted(host, operation, source))?;
            return Ok(Box::new(stream));
        }
        Ok(Box::new(tcp))
    }
}

#[cfg(test)]
impl Host {
    pub(super) fn of_test() -> Self {
        Self { name: "h".into(), port: 15672 }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// What stands before `/api`, which people copy along.
fn base(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.pop_if(|last| *last == "api");
    parts.into_iter().map(|part| format!("/{}", path::escaped(part))).collect()
}

#[cfg(feature = "tls")]
fn connector(endpoint: &Endpoint, tls: Option<&Tls>) -> Result<Option<tokio_rustls::TlsConnector>> {
    if endpoint.scheme() != "https" {
        return Ok(None);
    }
    let says_itself = Tls::KEYS.iter().any(|key| endpoint.query(key).is_some());
    let tls = match tls {
        Some(tls) if !says_itself => tls.clone(),
        _ => Tls::from_endpoint(endpoint)?,
    };
    Ok(Some(crate::tls::client_config(&tls)?.into()))
}

#[cfg(not(feature = "tls"))]
fn without_tls(endpoint: &Endpoint, _: Option<&Tls>) -> Result<()> {
    match endpoint.scheme() {
        "https" => Err(error(ErrorKind::Unsupported, OPERATION, "TLS needs the cargo feature `tls`")),
        _ => Ok(()),
    }
}

#[cfg(feature = "tls")]
fn untrusted(host: &Host, operation: &'static str, source: io::Error) -> zephcast_core::Error {
    let cause = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (kind, message) = match cause {
        None => (ErrorKind::Unavailable, format!("the management API at {host} hung up before TLS was agreed on")),
        Some(rustls::Error::InvalidMessage(_)) => {
            (ErrorKind::Broker, format!("what answers at {host} speaks no TLS; check the `management` key of the URL"))
        }
        Some(_) => (ErrorKind::Auth, format!("TLS did not establish trust in the management API at {host}")),
    };
    error(kind, operation, message).caused_by(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_itself_may_be_named() {
        assert_eq!(["", "/", "api", "/api/"].map(base), [""; 4]);
        assert_eq!(["/rabbit", "rabbit/api", "/a b/api/"].map(base), ["/rabbit", "/rabbit", "/a%20b"]);
    }
}
