//! `zephcast monitor`: groups of one or more brokers over HTTP, for Prometheus, for scripts and for people.

mod metrics;
mod named;
mod pages;
mod server;
mod watcher;

use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::net::TcpListener;

use self::watcher::Watcher;
use crate::args::Global;
use crate::args::monitor::MonitorArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::output::records::Record;
use crate::signals::Shutdown;

/// Watches and answers until it is asked to stop: a good end.
pub(crate) async fn run(
    global: &Global,
    arguments: &MonitorArgs,
    output: &Output,
    shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let brokers = named::brokers(&global.url)?;
    let cannot = |error| Failure::failed(format!("cannot listen on {}: {error}", arguments.listen));
    let listener = TcpListener::bind(arguments.listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let listening = Record::Listening { url: format!("http://{address}/") };
    let (watchers, views): (Vec<_>, Vec<_>) =
        brokers.into_iter().map(|broker| Watcher::new(broker, arguments, global.connect_timeout, output)).unzip();
    output.show(&listening, |_| format!("listening on http://{address}/")).await?;
    let watching = try_join_all(watchers.into_iter().map(|watcher| watcher.run(shutdown.clone())));
    // A broker that refuses for good ends all of it.
    tokio::try_join!(watching, server::serve(listener, Arc::new(views), shutdown.clone()))?;
    Ok(Exit::Done)
}
