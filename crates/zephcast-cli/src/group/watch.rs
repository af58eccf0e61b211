//! `zephcast group watch`: looks again and again, until it is asked to stop.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use zephcast::{Client, Error};

use super::looks::{Looks, look};
use crate::args::watch::GroupWatchArgs;
use crate::exit::{Exit, Failure, describe};
use crate::output::groups::GroupRecord;
use crate::output::live::Live;
use crate::output::{Output, printable, seconds};
use crate::signals::Shutdown;

/// Watches until a signal, the reader's end or the last of `--count`: each is a good end.
pub(crate) async fn run(
    client: &Client,
    arguments: &GroupWatchArgs,
    output: &Output,
    mut shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let unread = output.stdout().closed();
    let watching = Watching::new(client, arguments, output);
    tokio::select! {
        biased;
        () = shutdown.wait() => Ok(Exit::Done),
        () = unread => Ok(Exit::Done),
        ended = watching.run() => ended.map(|()| Exit::Done),
    }
}

struct Watching<'a> {
    client: &'a Client,
    arguments: &'a GroupWatchArgs,
    output: &'a Output,
    looks: Looks,
    /// The view that follows, at a terminal.
    live: Option<Live>,
    /// Since when the broker is away, and why.
    away: Option<(Instant, String)>,
    /// Whether it was told that the stream has no groups.
    told_empty: bool,
}

impl<'a> Watching<'a> {
    fn new(client: &'a Client, arguments: &'a GroupWatchArgs, output: &'a Output) -> Self {
        let live = output.is_live().then(Live::default);
        let looks = Looks::new(arguments.window);
        Self { client, arguments, output, looks, live, away: None, told_empty: false }
    }

    /// Ends after the last look that was asked for, or with what no further look would mend.
    async fn run(mut self) -> Result<(), Failure> {
        let GroupWatchArgs { stream, group, count, .. } = self.arguments;
        let mut ticks = interval(self.arguments.interval);
        // After a slow look the next one is no sooner.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = 0;
        while count.is_none_or(|count| looked < count) {
            ticks.tick().await;
            match look(self.client, stream, group.as_ref()).await {
                Ok(seen) => {
                    self.reached();
                    let records = self.looks.judge(seen);
                    self.show(records).await?;
                    looked += 1;
                }
                Err(error) if error.is_retryable() => self.failed(&error).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn show(&mut self, records: Vec<GroupRecord>) -> std::io::Result<()> {
        if let Some(live) = &mut self.live {
            live.see(records);
            return self.draw().await;
        }
        let was_told = std::mem::replace(&mut self.told_empty, records.is_empty());
        if records.is_empty() && !was_told {
            self.output.tell(format_args!("{} has no groups", self.arguments.stream));
        }
        for record in &records {
            self.output.show(record, GroupRecord::text).await?;
        }
        Ok(())
    }

    /// A look failed, and the next one may not.
    async fn failed(&mut self, error: &Error) -> std::io::Result<()> {
        let reason = printable(&describe(error));
        match &mut self.away {
            Some((_, last)) => *last = reason,
            None => {
                self.tell(format_args!("disconnected, trying again: {reason}"));
                self.away = Some((Instant::now(), reason));
            }
        }
        self.draw().await
    }

    fn reached(&mut self) {
        if let Some((since, _)) = self.away.take() {
            self.tell(format_args!("reconnected after {} s", seconds(since.elapsed())));
        }
    }

    /// On stderr, unless that is the terminal on which the view stands: there it would be drawn over, and the view tells.
    fn tell(&self, text: std::fmt::Arguments<'_>) {
        if self.live.is_none() || !stderr().is_terminal() {
            self.output.tell(text);
        }
    }

    /// Draws the view, if there is one.
    async fn draw(&mut self) -> std::io::Result<()> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let GroupWatchArgs { stream, group, interval, window, .. } = self.arguments;
        let broker = self.client.capabilities().broker.as_str();
        let now = Timestamp::now().strftime("%H:%M:%SZ");
        let mut head = format!("{stream} on {broker}, {now}: every {interval:?}, judged over {window:?}; Ctrl-C ends");
        if let Some((since, reason)) = &self.away {
            head.push_str(&format!("\naway for {} s, below is what was before: {reason}", since.elapsed().as_secs()));
        }
        let frame = live.frame(&head, group.is_some(), self.output.stdout().size());
        self.output.stdout().write(frame.into_bytes()).await.result
    }
}
