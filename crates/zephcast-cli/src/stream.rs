//! `zephcast stream`: create, list, show and delete streams.

use zephcast::driver::StreamSpec;
use zephcast::{Client, StreamStatus};

use crate::args::stream::{StreamCommand, StreamCreateArgs};
use crate::confirm;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::output::groups::StreamRecord;
use crate::output::records::Record;

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
pub(crate) async fn run(client: &Client, command: StreamCommand, output: &Output) -> Result<Exit, Failure> {
    let admin = client.admin();
    match command {
        StreamCommand::Create(arguments) => {
            let spec = spec(arguments);
            admin.create_stream(&spec).await?;
            show(&admin.stream(&spec.stream).await?, output).await?;
        }
        StreamCommand::List => {
            for stream in admin.streams().await? {
                show(&stream, output).await?;
            }
        }
        StreamCommand::Show { stream } => show(&admin.stream(&stream).await?, output).await?,
        StreamCommand::Delete { stream, .. } => {
            admin.delete_stream(&stream).await?;
            let record = Record::Deleted { stream: stream.to_string() };
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
