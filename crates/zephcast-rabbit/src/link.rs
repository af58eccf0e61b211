//! One connection to the server, from its handshake to its end.
//!
//! The client library's own recovery stays off: it hangs after a channel that the server closed, and lets a tag of a
//! former channel acknowledge a message of the next. Here a connection that broke is over;
//! [`Connection`](crate::connection::Connection) makes the next one.

mod login;
mod socket;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::tcp::AsyncTcpStream;
use lapin::types::LongString;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, ConnectionProperties, Error as LapinError, Event};
use tokio::sync::watch;
use zephcast_core::driver::LONGEST;
use zephcast_core::{Error, Result};

use self::login::Login;
use self::socket::{ClosedOnDrop, Socket};
use crate::blocking::BlockingOfLink;
use crate::dial::Wire;
use crate::error::{EXCLUSIVE, has_code, late, reply, translate};
use crate::guard::{Guard, ServerVersion, Taken};
use crate::{RabbitConfig, dial, quiet, runtime};

/// Why a call brought no answer, or not a good one.
#[derive(Clone, Debug)]
pub(crate) enum CallFailure {
    /// The server refused and closed the channel, or the connection broke.
    Said(LapinError),
    /// There was no answer in time.
    Late,
}

impl CallFailure {
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        match self {
            Self::Said(source) => translate(operation, source),
            Self::Late => late(operation),
        }
    }

    /// Whether the server answered with this code.
    pub(crate) fn has_code(&self, code: u16) -> bool {
        matches!(self, Self::Said(source) if has_code(source, code))
    }

    /// Whether the queue has, or may have, one consumer alone.
    pub(crate) fn is_exclusion(&self) -> bool {
        matches!(self, Self::Said(source) if reply(source).is_some_and(|(_, text)| text.contains(EXCLUSIVE)))
    }
}

/// How a connection is.
#[derive(Clone, Debug, Default)]
struct Health {
    /// Why it ended, if it did.
    over: Option<LapinError>,
    /// Whether nobody begins anything on it any more.
    given_up: bool,
    /// Why the server takes nothing from it for now.
    blocked: Option<String>,
}

impl Health {
    fn is_over(&self) -> bool {
        self.given_up || self.over.is_some()
    }

    /// Whether what is on its way is held up. On one that is over it is not: nobody waits for the server to take something.
    fn holds_up(&self) -> bool {
        self.blocked.is_some() && !self.is_over()
    }
}

/// A connection. Dropping it breaks it off, whoever still has a channel of it.
pub(crate) struct Link {
    connection: lapin::Connection,
    socket: ClosedOnDrop,
    /// Channels that the server is closing. Kept until they are closed.
    closing: Mutex<Vec<Channel>>,
    /// Told by the server's word, and by who gives it up.
    health: Arc<watch::Sender<Health>>,
    version: ServerVersion,
    taken: Taken,
    timeout: Duration,
    /// How many channels there have been.
    channels: AtomicU32,
}

impl Link {
    /// Connects to this server and logs in, within the connect timeout.
    pub(crate) async fn open(
        config: &RabbitConfig,
        (host, port): &(String, u16),
        heartbeat: Duration,
        purpose: &str,
        blocking: BlockingOfLink,
    ) -> Result<Self> {
        const OPERATION: &str = "connect";
        let uri = uri(config, host, *port, heartbeat);
        let name = LongString::from(format!("zephcast {purpose}"));
        let options = ConnectionProperties::default()
            .with_connection_name(name)
            .with_client_property("product".into(), LongString::from("zephcast"))
            .with_client_property("version".into(), LongString::from(env!("CARGO_PKG_VERSION")))
            .with_auth_provider(Login::new(&config.credentials)?);
        #[cfg(feature = "tls")]
        let connector =
            config.tls.as_ref().map(crate::tls::client_config).transpose()?.map(tokio_rustls::TlsConnector::from);
        let socket = Socket::default();
        let dialled = socket.clone();
        let version = ServerVersion::default();
        let greeted = version.clone();
        let taken = Taken::default();
        let counted = taken.clone();
        let timeout = config.connect_timeout.min(LONGEST);
        let wire = async move |uri: &AMQPUri| {
            let host = (uri.authority.host.as_str(), uri.authority.port);
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host(host).await?.collect();
            let stream = dial::tcp(&addresses).await?;
            dialled.keep(&stream)?;
            #[cfg(feature = "tls")]
            if let Some(connector) = &connector {
                return dial::tls(connector, host.0, stream).await;
            }
            io::Result::Ok(Box::new(stream) as Box<dyn Wire>)
        };
        // On a thread of the client library, which goes on when nobody waits any more.
        let dial = async move |uri: AMQPUri, _| {
            let log = quiet::this_thread();
            let wire = tokio::time::timeout(timeout, wire(&uri)).await.map_err(io::Error::from)??;
            Ok(AsyncTcpStream::Plain(Guard::new(wire, greeted.clone(), counted.clone(), log)))
        };
        let connecting = lapin::Connection::connector(uri, runtime::current(), dial, options);
        // Given up or dropped, an attempt would wait in the client library for as long as the server is silent.
        let given_up = socket.closes_when_dropped();
        let connected = tokio::time::timeout(timeout, connecting).await;
        let connection = connected.map_err(|_| late(OPERATION))?.map_err(|source| translate(OPERATION, source))?;
        given_up.keep();
        let health = watch_over(&connection, blocking);
        Ok(Self {
            connection,
            closing: Mutex::default(),
            socket: socket.closes_when_dropped(),
            health,
            version,
            taken,
            timeout: config.request_timeout.min(LONGEST),
            channels: AtomicU32::new(0),
        })
    }

    /// A new channel.
    pub(crate) async fn channel(&self) -> Result<Channel, CallFailure> {
        self.channels.fetch_add(1, Ordering::Relaxed);
        self.answer(self.connection.create_channel()).await
    }

    /// Whether channel numbers are about to be used a second time. The client library remembers for ever which channels the
    /// server closed, and fails whatever has the number of one later.
    pub(crate) fn is_used_up(&self) -> bool {
        let most = match self.connection.configuration().channel_max() {
            0 => u16::MAX,
            most => most,
        };
        // Those who have the connection already may open some more.
        self.channels.load(Ordering::Relaxed) > u32::from(most) * 3 / 4
    }

    /// Closes it once nobody uses it any more.
    pub(crate) fn retire(self: Arc<Self>) {
        tokio::spawn(async move {
            // Whoever wanted an answer has it by then; whoever stays is there for longer, and closes it by letting go.
            tokio::time::sleep(self.timeout).await;
            if let Some(link) = Arc::into_inner(self) {
                // One that does not close is dropped, which ends it too.
                let _ = link.close().await;
            }
        });
    }

    /// Waits for an answer, at most as long as the request timeout.
    pub(crate) async fn answer<T>(&self, call: impl Future<Output = lapin::Result<T>>) -> Result<T, CallFailure> {
        self.answer_within(self.timeout, call).await
    }

    /// As [`answer`](Self::answer), with a timeout of its own.
    pub(crate) async fn answer_within<T>(
        &self,
        timeout: Duration,
        call: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, CallFailure> {
        let lost = async {
            self.ended().await;
            let over = self.health.borrow().over.clone();
            match over {
                Some(source) => source,
                // It was closed in good order, which the call hears of.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = call => answer.map_err(|source| CallFailure::Said(self.cause_of(source))),
            // The client library was seen to forget the calls of a connection on which the server fell silent.
            source = lost => Err(CallFailure::Said(source)),
            () = tokio::time::sleep(timeout) => Err(CallFailure::Late),
        }
    }

    /// What ended the connection says more than that it has ended.
    fn cause_of(&self, source: LapinError) -> LapinError {
        match source.kind() {
            lapin::ErrorKind::InvalidChannel(_)
            | lapin::ErrorKind::InvalidChannelState(..)
            | lapin::ErrorKind::InvalidConnectionState(_) => self.health.borrow().over.clone().unwrap_or(source),
            _ => source,
        }
    }

    /// Whether the connection ended, or is as good as that.
    pub(crate) fn is_over(&self) -> bool {
        !self.connection.status().connected() || self.health.borrow().is_over()
    }

    /// Nobody begins anything on it any more: the server was silent for too long, and the client library finds out later.
    pub(crate) fn give_up(&self) {
        self.health.send_modify(|health| health.given_up = true);
    }

    /// Ends it now, whoever still has a channel of it.
    pub(crate) fn break_off(&self) {
        self.socket.close();
    }

    /// Keeps a channel that the server closed until the client library has understood that.
    pub(crate) fn bury(&self, channel: Channel) {
        let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        closing.retain(|channel| channel.status().connected() || channel.status().closing());
        closing.push(channel);
    }

    /// Why the server takes nothing from this connection for now, if so. One that is over is followed by another, which the
    /// server tells anew.
    pub(crate) fn blocked(&self) -> Option<String> {
        if self.is_over() { None } else { self.health.borrow().blocked.clone() }
    }

    /// Waits until the connection ended.
    pub(crate) async fn ended(&self) {
        self.valve().ended().await;
    }

    /// Follows whether the server takes something.
    pub(crate) fn valve(&self) -> Valve {
        Valve { health: self.health.subscribe() }
    }

    /// The server's version, if it says one.
    pub(crate) fn version(&self) -> Option<&str> {
        self.version.get().map(String::as_str)
    }

    /// What the socket has taken so far.
    pub(crate) fn taken(&self) -> &Taken {
        &self.taken
    }

    /// How large a frame may be, as client and server agreed.
    pub(crate) fn frame_max(&self) -> usize {
        usize::try_from(self.connection.configuration().frame_max()).unwrap_or(usize::MAX)
    }

    /// Closes it in good order: what was settled on it has reached the server.
    pub(crate) async fn close(&self) -> Result<(), CallFailure> {
        self.answer(self.connection.close(lapin::protocol::constants::REPLY_SUCCESS, "OK".into())).await
    }
}

/// Whether the server takes something from a connection, by one who does not keep it open.
#[derive(Clone)]
pub(crate) struct Valve {
    health: watch::Receiver<Health>,
}

impl Valve {
    /// Waits until the connection ended.
    pub(crate) async fn ended(&self) {
        // The sender goes with the connection.
        let _ = self.health.clone().wait_for(|health| health.over.is_some()).await;
    }

    /// Waits until the server takes something, or nothing. One whose connection ended, or was given up, holds nothing up any
    /// more.
    pub(crate) async fn until(&self, takes: bool) {
        let ended = self.health.clone().wait_for(|health| health.holds_up() != takes).await.is_err();
        if ended && !takes {
            std::future::pending::<()>().await;
        }
    }
}

/// Follows what the server says of the connection, for as long as it lasts.
fn watch_over(connection: &lapin::Connection, blocking: BlockingOfLink) -> Arc<watch::Sender<Health>> {
    let health = Arc::new(watch::Sender::new(Health::default()));
    let told = health.clone();
    let mut events = connection.events_listener().boxed();
    let status = connection.status().clone();
    // Ends with the connection.
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => {
                    told.send_modify(|health| health.blocked = Some(reason.clone()));
                    blocking.tell(Some(reason));
                }
                Event::ConnectionUnblocked => {
                    told.send_modify(|health| health.blocked = None);
                    blocking.tell(None);
                }
                // That a channel was closed is told here, too, and ends nothing else.
                Event::Error(source) if source.is_amqp_soft_error() && status.connected() => {}
                Event::Error(source) => {
                    told.send_modify(|health| {
                        health.over.get_or_insert(connection_level(source));
                    });
                    // The events may last longer, and nobody will say that it takes something again.
                    blocking.tell(None);
                }
                _ => {}
            }
        }
        // The next connection is told anew.
        blocking.tell(None);
    });
    health
}

/// Why a connection ended, when what is told of it is why a channel did.
fn connection_level(source: LapinError) -> LapinError {
    match source.is_amqp_soft_error() {
        true => lapin::ErrorKind::InvalidConnectionState(lapin::ConnectionState::Error).into(),
        false => source,
    }
}

fn uri(config: &RabbitConfig, host: &str, port: u16, heartbeat: Duration) -> AMQPUri {
    AMQPUri {
        scheme: if config.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            // The login has its own way, so that this shows no secret.
            userinfo: AMQPUserInfo { username: String::new(), password: String::new() },
            host: host.to_owned(),
            port,
        },
        vhost: config.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX).max(1)),
            ..AMQPQueryString::default()
        },
    }
}
