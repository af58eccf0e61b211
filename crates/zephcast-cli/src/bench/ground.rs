//! Where a bench takes place: a stream, a group on it, a publisher and, for a part of the time, a member.

use std::time::Duration;

use tokio::time::timeout;
use zephcast::driver::StreamSpec;
use zephcast::{Client, Consumer, ErrorKind, Event, GroupName, Publisher, Start, StreamName};

use crate::args::bench::BenchArgs;
use crate::exit::{Failure, describe};
use crate::output::Output;

/// How long each step of clearing up may take.
const CLEAR: Duration = Duration::from_secs(5);

pub(super) struct Ground {
    pub(super) broker: &'static str,
    pub(super) stream: StreamName,
    /// In the payload of each message of this run.
    pub(super) mark: u64,
    pub(super) publisher: Publisher,
    /// The group's only member, from when it joined.
    pub(super) consumer: Option<Consumer>,
    client: Client,
    group: GroupName,
    /// Whether the stream was made for this run.
    own: bool,
}

impl Ground {
    /// Everything is there before the first clock starts.
    ///
    /// # Errors
    /// `NotFound` for a stream that was given and is not there, and what the broker fails with. Nothing is left then.
    pub(super) async fn prepare(client: &Client, arguments: &BenchArgs, mark: u64) -> Result<Self, Failure> {
        let group = GroupName::new(group(mark))?;
        let (stream, own) = match &arguments.stream {
            Some(stream) => (client.admin().stream(stream).await?.stream, false),
            None => (StreamName::new(stream(mark))?, true),
        };
        if own {
            client.admin().create_stream(&StreamSpec::new(stream.clone())).await?;
        }
        let prepared = Self::prepare_on(client, arguments, &stream, &group).await;
        let publisher = match prepared {
            Ok(publisher) => publisher,
            Err(failure) => {
                remove(client, &stream, &group, own).await?;
                return Err(failure);
            }
        };
        let broker = client.capabilities().broker.as_str();
        Ok(Self { broker, stream, mark, publisher, consumer: None, client: client.clone(), group, own })
    }

    async fn prepare_on(
        client: &Client,
        arguments: &BenchArgs,
        stream: &StreamName,
        group: &GroupName,
    ) -> Result<Publisher, Failure> {
        // What lies in the stream already is none of this run.
        let start = if arguments.stream.is_some() { Start::Latest } else { Start::Earliest };
        client.admin().create_group(stream, group, start).await?;
        let publisher = client.publisher(stream).create(false);
        let publisher = match arguments.in_flight {
            Some(messages) => publisher.in_flight(messages),
            None => publisher,
        };
        Ok(publisher.await?)
    }

    /// Joins the group and waits until there is something to read from.
    ///
    /// # Errors
    /// What the broker fails with.
    pub(super) async fn join(&mut self) -> Result<(), Failure> {
        let joining = self.client.consumer(&self.stream).group(&self.group).create(false);
        let consumer = self.consumer.insert(joining.start().await?);
        let mut events = consumer.events();
        while let Some(event) = events.next().await {
            if matches!(event, Event::Assigned(units) if !units.is_empty()) {
                break;
            }
        }
        Ok(())
    }

    /// Ends what goes on and deletes what is its own.
    ///
    /// # Errors
    /// When the stream, or the group, may still be there, named, with what to do.
    pub(super) async fn clear(self, client: &Client, output: &Output) -> Result<(), Failure> {
        // What is still on its way would come after the deletion.
        let _ = timeout(CLEAR, self.publisher.flush()).await;
        drop(self.publisher);
        if let Some(consumer) = self.consumer {
            // What it measured is known, and it has no use for an account of its end.
            let _ = consumer.close(CLEAR).await;
        }
        if !self.own {
            output.tell(format_args!("{} keeps the messages of this run", self.stream));
        }
        remove(client, &self.stream, &self.group, self.own).await
    }
}

/// The group of the run with this mark.
pub(super) fn group(mark: u64) -> String {
    format!("bench-{mark:016x}")
}

/// The stream of its own that it has unless one is given.
pub(super) fn stream(mark: u64) -> String {
    format!("zephcast-bench-{mark:016x}")
}

/// Deletes what was made for a run: its own stream, or its group on one that was given.
async fn remove(client: &Client, stream: &StreamName, group: &GroupName, own: bool) -> Result<(), Failure> {
    let admin = client.admin();
    let removing = async {
        match own {
            true => admin.delete_stream(stream).await,
            false => admin.delete_group(stream, group).await,
        }
    };
    let why = match timeout(CLEAR, removing).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Ok(Err(error)) => describe(&error),
        Err(_) => format!("no answer within {CLEAR:?}"),
    };
    let (what, command) = match own {
        true => (format!("the stream {stream}"), format!("stream delete {stream}")),
        false => (format!("the group {group} on {stream}"), format!("group delete {stream} {group}")),
    };
    let failure = Failure::failed(format!("{what} of this bench may still be there: {why}"));
    Err(failure.advise(format!("zephcast {command} --yes")))
}
