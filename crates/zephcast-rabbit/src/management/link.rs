//! A connection to the API that is kept from one question to the next.

use std::pin::{Pin, pin};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::Request;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue};
use hyper_util::rt::TokioIo;

use super::answer::Answer;
use super::server::{Host, Stream};

/// More than any answer to what is asked here.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// A connection without a task of its own: it is driven by whoever asks, and closed when it is dropped.
pub(super) struct Link {
    host: Host,
    sender: SendRequest<Empty<Bytes>>,
    /// None once it has ended.
    connection: Option<Pin<Box<Driven>>>,
}

type Driven = Connection<TokioIo<Box<dyn Stream>>, Empty<Bytes>>;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    TooLarge,
    Broken(hyper::Error),
}

impl Link {
    pub(super) async fn open(host: Host, stream: Box<dyn Stream>) -> Result<Self, Failure> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Self { host, sender, connection: Some(Box::pin(connection)) })
    }

    /// Whether it can be asked again, as far as is known; the server may have closed it.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some() && !self.sender.is_closed()
    }

    /// What the server answers. A link is of no use after a question that was given up.
    pub(super) async fn get(&mut self, path: &str, authorization: HeaderValue) -> Result<Answer, Failure> {
        let mut asked = pin!(ask(&mut self.sender, &self.host, path, authorization));
        if let Some(connection) = &mut self.connection {
            tokio::select! {
                biased;
                answer = &mut asked => return answer,
                // What came before the end may be all of the answer, and how it ended is told to who asks.
                _ = connection => self.connection = None,
            }
        }
        asked.await
    }
}

async fn ask(
    sender: &mut SendRequest<Empty<Bytes>>,
    host: &Host,
    path: &str,
    authorization: HeaderValue,
) -> Result<Answer, Failure> {
    let mut request = Request::new(Empty::new());
    // Every name in it is escaped, so it is always one.
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, authorization);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Ok(host) = HeaderValue::from_str(&host.to_string()) {
        headers.insert(HOST, host);
    }
    sender.ready().await?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|error| match error.downcast() {
        Ok(broken) => Failure::Broken(*broken),
        Err(error) => {
            debug_assert!(error.is::<LengthLimitError>(), "{error}");
            Failure::TooLarge
        }
    })?;
    Ok(Answer::new(&head, body.to_bytes(), host.clone()))
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error)
    }
}
