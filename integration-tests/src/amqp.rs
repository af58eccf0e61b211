//! As much of AMQP 0-9-1 as a client needs to be treated as one, by hand: what no client library would send can be sent, too.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a client says first.
pub const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// Class and number of a method.
pub type Name = (u16, u16);
/// The server's first.
pub const CONNECTION_START: Name = (10, 10);
const CONNECTION_START_OK: Name = (10, 11);
const CONNECTION_TUNE: Name = (10, 30);
const CONNECTION_TUNE_OK: Name = (10, 31);
const CONNECTION_OPEN: Name = (10, 40);
const CONNECTION_OPEN_OK: Name = (10, 41);
/// It is over.
pub const CONNECTION_CLOSE: Name = (10, 50);
/// The server takes no messages.
pub const CONNECTION_BLOCKED: Name = (10, 60);
/// It takes them again.
pub const CONNECTION_UNBLOCKED: Name = (10, 61);
const CHANNEL_OPEN: Name = (20, 10);
const CHANNEL_OPEN_OK: Name = (20, 11);
const BASIC_PUBLISH: Name = (60, 40);
const BASIC_ACK: Name = (60, 80);
const CONFIRM_SELECT: Name = (85, 10);
const CONFIRM_SELECT_OK: Name = (85, 11);

const METHOD_FRAME: u8 = 1;
const HEADER_FRAME: u8 = 2;
const BODY_FRAME: u8 = 3;
const FRAME_END: u8 = 0xCE;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What the server said.
#[derive(Debug)]
pub struct Method {
    /// Which it is.
    pub name: Name,
    arguments: Vec<u8>,
}

/// A connection with one channel, and without heartbeats.
#[derive(Debug)]
pub struct Session {
    socket: TcpStream,
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or says something else than expected.
    pub async fn open(server: SocketAddr) -> io::Result<Self> {
        let mut session = Self { socket: TcpStream::connect(server).await? };
        session.socket.write_all(HEADER).await?;
        session.expect(CONNECTION_START).await?;
        // Only who says that it understands is told that it is blocked.
        let able = [&short("connection.blocked")[..], b"t\x01"].concat();
        let properties = long(&[&short("capabilities")[..], b"F", &long(&able)].concat());
        let login = [&properties[..], &short("PLAIN"), &long(b"\0guest\0guest"), &short("en_US")].concat();
        session.send(0, CONNECTION_START_OK, &login).await?;
        // The most channels and the largest frame, as the server likes it, and no heartbeats.
        let tuned = session.expect(CONNECTION_TUNE).await?;
        session.send(0, CONNECTION_TUNE_OK, &[&tuned[..6], &[0, 0]].concat()).await?;
        session.send(0, CONNECTION_OPEN, &[&short("/")[..], &[0, 0]].concat()).await?;
        session.expect(CONNECTION_OPEN_OK).await?;
        session.send(1, CHANNEL_OPEN, &[0]).await?;
        session.expect(CHANNEL_OPEN_OK).await?;
        Ok(session)
    }

    /// By the default exchange; whether that queue exists is not told.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub async fn publish(&mut self, queue: &str, body: &[u8]) -> io::Result<()> {
        self.write("", queue.as_bytes(), &[0, 0], body).await
    }

    /// From now on the server says what it has stored.
    ///
    /// # Errors
    ///
    /// When the connection is broken, or the server says something else.
    pub async fn confirm(&mut self) -> io::Result<()> {
        self.send(1, CONFIRM_SELECT, &[0]).await?;
        self.expect(CONFIRM_SELECT_OK).await.map(drop)
    }

    /// Publishes to an exchange, with properties as they are written, their flags first, and waits until the server has
    /// stored it, which it has to [`confirm`](Self::confirm).
    ///
    /// # Errors
    ///
    /// When the connection is broken, or the server refuses.
    pub async fn store(&mut self, exchange: &str, key: &[u8], properties: &[u8], body: &[u8]) -> io::Result<()> {
        self.write(exchange, key, properties, body).await?;
        self.expect(BASIC_ACK).await.map(drop)
    }

    async fn write(&mut self, exchange: &str, key: &[u8], properties: &[u8], body: &[u8]) -> io::Result<()> {
        let arguments = [&[0, 0][..], &short(exchange), &[key.len() as u8], key, &[0]].concat();
        self.send(1, BASIC_PUBLISH, &arguments).await?;
        let length = (body.len() as u64).to_be_bytes();
        self.frame(HEADER_FRAME, 1, &[&[0, 60, 0, 0][..], &length, properties].concat()).await?;
        self.frame(BODY_FRAME, 1, body).await
    }

    /// The next that the server says.
    ///
    /// # Errors
    ///
    /// When the connection is broken, or the server says nothing for 10 s.
    pub async fn hears(&mut self) -> io::Result<Name> {
        Ok(timeout(ANSWER_LIMIT, method(&mut self.socket)).await??.name)
    }

    async fn expect(&mut self, name: Name) -> io::Result<Vec<u8>> {
        let said = timeout(ANSWER_LIMIT, method(&mut self.socket)).await??;
        match said.name == name {
            true => Ok(said.arguments),
            false => Err(io::Error::other(format!("expected {name:?}, heard {:?}", said.name))),
        }
    }

    async fn send(&mut self, channel: u16, (class, number): Name, arguments: &[u8]) -> io::Result<()> {
        let payload = [&class.to_be_bytes()[..], &number.to_be_bytes(), arguments].concat();
        self.frame(METHOD_FRAME, channel, &payload).await
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> io::Result<()> {
        let channel = channel.to_be_bytes();
        self.socket.write_all(&[&[kind][..], &channel, &long(payload), &[FRAME_END]].concat()).await
    }
}

/// Reads a frame that must carry a method.
///
/// # Errors
///
/// When the connection is broken, or the frame carries something else.
pub async fn method(socket: &mut TcpStream) -> io::Result<Method> {
    let (kind, _channel) = (socket.read_u8().await?, socket.read_u16().await?);
    if kind != METHOD_FRAME {
        return Err(io::Error::other(format!("a frame of type {kind}")));
    }
    let length = socket.read_u32().await?;
    let name = (socket.read_u16().await?, socket.read_u16().await?);
    let mut arguments = vec![0; length as usize - 4];
    socket.read_exact(&mut arguments).await?;
    match socket.read_u8().await? {
        FRAME_END => Ok(Method { name, arguments }),
        other => Err(io::Error::other(format!("a frame that ends with {other}"))),
    }
}

/// A text of less than 256 bytes.
fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8][..], text.as_bytes()].concat()
}

/// Bytes with their length before them, as a table, an array or a long string is written.
pub fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}
