//! The way to a server.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes to and from a server, in clear or through TLS.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Tries each address in turn.
pub(crate) async fn tcp(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addresses).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Goes through TLS from here on, once the server has shown that it is `host`.
#[cfg(feature = "tls")]
pub(crate) async fn tls(
    connector: &tokio_rustls::TlsConnector,
    host: &str,
    stream: TcpStream,
) -> io::Result<Box<dyn Wire>> {
    let name = rustls::pki_types::ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Box::new(connector.connect(name, stream).await?))
}
