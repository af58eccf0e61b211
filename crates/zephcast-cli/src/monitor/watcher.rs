//! One broker that is looked at, again and again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use zephcast::{Client, Error, ErrorKind, GroupName, GroupStatus, Result, StreamName, StreamStatus};

use super::named::Named;
use crate::CLOSE;
use crate::args::monitor::MonitorArgs;
use crate::exit::{Failure, describe};
use crate::group::looks::{self, Looks};
use crate::output::groups::GroupRecord;
use crate::output::{Output, printable, seconds};
use crate::signals::Shutdown;

/// A look that takes longer is given up.
const LOOK: Duration = Duration::from_secs(30);
/// So many groups are asked for at a time.
const AT_A_TIME: usize = 16;

/// What the last look at a broker showed.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) broker: Arc<str>,
    /// Its groups, or why there is no answer.
    pub(super) groups: std::result::Result<Arc<Vec<GroupRecord>>, String>,
}

/// Looks at a broker and shows what it saw last.
pub(super) struct Watcher<'a> {
    broker: Named,
    arguments: &'a MonitorArgs,
    connect_timeout: Duration,
    output: &'a Output,
    looks: Looks,
    view: watch::Sender<View>,
    /// Since when there is no answer.
    away: Option<Instant>,
    /// What was told of groups that may not be looked at, so that it is told once.
    told: BTreeSet<String>,
}

impl<'a> Watcher<'a> {
    /// With where to see what it saw last.
    pub(super) fn new(
        broker: Named,
        arguments: &'a MonitorArgs,
        connect_timeout: Duration,
        output: &'a Output,
    ) -> (Self, watch::Receiver<View>) {
        let (looks, told) = (Looks::new(arguments.window), BTreeSet::new());
        let unseen = View { broker: broker.name.as_str().into(), groups: Err("not looked at yet".into()) };
        let (view, receiver) = watch::channel(unseen);
        (Self { broker, arguments, connect_timeout, output, looks, view, away: None, told }, receiver)
    }

    /// Watches until it is asked to stop.
    ///
    /// # Errors
    /// When the broker cannot be connected to and never will: wrong credentials, a URL that means nothing. One that is
    /// away is tried again without an end.
    pub(super) async fn run(mut self, mut shutdown: Shutdown) -> std::result::Result<(), Failure> {
        let mut client = None;
        let ended = tokio::select! {
            biased;
            () = shutdown.wait() => Ok(()),
            ended = self.watch(&mut client) => ended.map(|never| match never {}),
        };
        if let Some(client) = client {
            // Nothing of it is needed any more.
            let _ = client.close(CLOSE).await;
        }
        ended
    }

    async fn watch(&mut self, client: &mut Option<Client>) -> std::result::Result<Infallible, Failure> {
        let mut ticks = interval(self.arguments.interval);
        // After a slow look the next one is no sooner.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let client = match client {
                Some(client) => client,
                None => match zephcast::connect_with(&self.broker.url, self.connect_timeout).await {
                    Ok(connected) => client.insert(connected),
                    Err(error) if error.is_retryable() => {
                        self.failed(&error);
                        continue;
                    }
                    Err(error) => return Err(Failure::from(error).about_broker(&self.broker.name)),
                },
            };
            let looked = timeout(LOOK, self.look(client)).await;
            match looked.unwrap_or_else(|_| Err(too_slow())) {
                Ok(seen) => self.reached(seen),
                Err(error) => self.failed(&error),
            }
        }
    }

    async fn look(&mut self, client: &Client) -> Result<Vec<GroupStatus>> {
        let wanted = &self.arguments.groups;
        let mut groups = Vec::new();
        for status in self.streams(client).await? {
            let stream = status.stream.clone();
            // Those that are named need not be listed; of a stream that has none of the name nothing is seen.
            let of_stream = match status.groups.is_none() && !wanted.is_empty() {
                true => wanted.clone(),
                false => looks::groups(status)?,
            };
            let of_stream = of_stream.into_iter();
            let of_stream = of_stream.filter(|group| wanted.is_empty() || wanted.contains(group));
            groups.extend(of_stream.map(|group| (stream.clone(), group)));
        }
        let look = |(stream, group): (StreamName, GroupName)| async move {
            let status = client.group_status(&stream, &group).await;
            (stream, group, status)
        };
        let mut looks = stream::iter(groups.into_iter().map(look)).buffered(AT_A_TIME);
        let mut seen = Vec::new();
        while let Some((stream, group, look)) = looks.next().await {
            match look {
                Ok(status) => seen.push(status),
                // Deleted since it was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => refused(&mut self.told, &stream, &group, &error),
            }
        }
        Ok(seen)
    }

    /// The streams that were named as far as they exist, or all.
    async fn streams(&self, client: &Client) -> Result<Vec<StreamStatus>> {
        if self.arguments.streams.is_empty() {
            return client.admin().streams().await;
        }
        let mut streams = Vec::new();
        for stream in &self.arguments.streams {
            match client.admin().stream(stream).await {
                Ok(stream) => streams.push(stream),
                // It may come, or be on another broker.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(streams)
    }

    fn reached(&mut self, seen: Vec<GroupStatus>) {
        if let Some(since) = self.away.take() {
            self.output.tell(format_args!("{}: reconnected after {} s", self.broker.name, seconds(since.elapsed())));
        }
        let groups = Arc::new(self.looks.judge(seen));
        self.view.send_modify(|view| view.groups = Ok(groups));
    }

    fn failed(&mut self, error: &Error) {
        let reason = printable(&describe(error));
        if self.away.is_none() {
            self.away = Some(Instant::now());
            self.output.tell(format_args!("{}: no answer, trying again: {reason}", self.broker.name));
        }
        self.view.send_modify(|view| view.groups = Err(reason));
    }
}

/// One group that may not be looked at hides no other.
fn refused(told: &mut BTreeSet<String>, stream: &StreamName, group: &GroupName, error: &Error) {
    let text = format!("{group} on {stream} is left out: {}", describe(error));
    if !told.contains(&text) {
        crate::output::complain(&text);
        told.insert(text);
    }
}

fn too_slow() -> Error {
    Error::new(ErrorKind::Timeout, "look", format!("no answer within {LOOK:?}"))
}
