//! `zephcast stream`: create, list, show and delete streams.

use zephcast::driver::StreamSpec;
use zephcast::{Client, StreamStatus};

use crate::args::stream::{StreamCommand, StreamCreateArgs};
use crate::confirm;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::output::groups::StreamRecord;
use crate::output::records::{Deleted, Record};
use crate::signals::Shutdown;

/// What can be refused before anything is connected.
pub(crate) fn check(command: &StreamCommand) -> Result<(), Failure> {
    match command {
        StreamCommand::Delete { stream, yes } => {
            confirm::destroy(&format!("delete the stream {stream} with its groups and dead letters"), *yes)
        }
        _ => Ok(()),
    }
}

/// Does what the subcommand says and shows the streams concerned.
pub(crate) async fn run(
    client: &Client,
    command: StreamCommand,
    output: &Output,
    mut shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let admin = client.admin();
    match command {
        StreamCommand::Create(arguments) => {
            let spec = spec(arguments);
            let created = shutdown.finish(admin.create_stream(&spec)).await;
            created.ok_or_else(|| Failure::unknown(format_args!("{:?} was created", spec.stream)))??;
            if let Some(stream) = shutdown.unless_asked(admin.stream(&spec.stream)).await {
                show(&stream?, output).await?;
            }
        }
        StreamCommand::List => {
            let Some(streams) = shutdown.unless_asked(admin.streams()).await else { return Ok(Exit::Interrupted) };
            for stream in streams? {
                show(&stream, output).await?;
            }
        }
        StreamCommand::Show { stream } => {
            let Some(stream) = shutdown.unless_asked(admin.stream(&stream)).await else {
                return Ok(Exit::Interrupted);
            };
            show(&stream?, output).await?;
        }
        StreamCommand::Delete { stream, .. } => {
            let deleted = shutdown.finish(admin.delete_stream(&stream)).await;
            deleted.ok_or_else(|| Failure::unknown(format_args!("{stream:?} was deleted")))??;
            let record = Record::Deleted(Deleted { stream: stream.to_string(), group: None });
            output.show(&record, |_| format!("deleted {stream}")).await?;
        }
    }
    Ok(Exit::Done)
}

fn spec(arguments: StreamCreateArgs) -> StreamSpec {
    let mut spec = StreamSpec::new(arguments.stream);
    spec.partitions = arguments.partitions;
    spec.groups = arguments.groups;
    spec.settings = arguments.settings.into_iter().collect();
    spec
}

async fn show(stream: &StreamStatus, output: &Output) -> std::io::Result<()> {
    output.show(&StreamRecord::from(stream), StreamRecord::text).await
}
