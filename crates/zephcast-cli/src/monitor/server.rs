//! The server: few connections, short requests, nothing that waits for a broker.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::pages::{self, Page};
use super::watcher::View;
use crate::exit::Failure;
use crate::output::complain;
use crate::signals::Shutdown;

/// So many connections at a time; others wait to be taken.
const MOST: usize = 128;
/// Whoever has not sent a request's head by then is dropped.
const HEAD: Duration = Duration::from_secs(10);
/// Answers that are on their way at the end may take so long.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// After accepting failed, as when there are no files left: that passes.
const PAUSE: Duration = Duration::from_millis(100);

type Views = Arc<Vec<watch::Receiver<View>>>;

/// Answers until it is asked to stop.
pub(super) async fn serve(listener: TcpListener, views: Views, mut shutdown: Shutdown) -> Result<(), Failure> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.wait() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST => match accepted {
                Ok((socket, _)) => drop(connections.spawn(connection(socket, views.clone(), shutdown.clone()))),
                Err(error) => {
                    complain(format_args!("a connection was not taken: {error}"));
                    sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    // What is left is dropped with the set.
    let _ = timeout(LAST_ANSWERS, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Ends with its client, or after the answer that it is at when it is asked to stop.
async fn connection(socket: TcpStream, views: Views, mut shutdown: Shutdown) {
    let service = service_fn(move |request| answer(request, views.clone()));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), service));
    // A client that went away, or sent what is no request, concerns nobody else.
    tokio::select! {
        _ = &mut connection => return,
        () = shutdown.wait() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(request: Request<Incoming>, views: Views) -> Result<Page, Infallible> {
    let views: Vec<View> = views.iter().map(|view| view.borrow().clone()).collect();
    let page: Response<_> = pages::answer(request.method(), request.uri().path(), &views);
    Ok(page)
}
