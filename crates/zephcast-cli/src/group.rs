//! `zephcast group`: how far groups are, who their members are, whether they make progress; moving and deleting them.

pub(crate) mod looks;
mod watch;

use futures_util::future::try_join_all;
use zephcast::{Client, GroupName, GroupState, GroupStatus, Result, StreamName};

use crate::args::Whose;
use crate::args::group::{GroupCommand, GroupDeleteArgs, GroupListArgs, GroupSeekArgs, GroupStatusArgs, Judging};
use crate::exit::{Exit, Failure};
use crate::output::groups::GroupRecord;
use crate::output::records::{Deleted, Record};
use crate::output::{Output, complain};
use crate::signals::Shutdown;
use crate::{confirm, start};

/// What can be refused before anything is connected.
pub(crate) fn check(command: &GroupCommand) -> Result<(), Failure> {
    match command {
        GroupCommand::Seek(GroupSeekArgs { to, .. }) => start::check("--to", to),
        GroupCommand::Delete(GroupDeleteArgs { whose: Whose { stream, group }, yes }) => {
            confirm::destroy(&format!("delete the group {group} on {stream} with its retries and dead letters"), *yes)
        }
        GroupCommand::List(_) | GroupCommand::Status(_) | GroupCommand::Watch(_) => Ok(()),
    }
}

/// Does what the subcommand says.
pub(crate) async fn run(
    client: &Client,
    command: GroupCommand,
    output: &Output,
    mut shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let (stream, group, judging) = match command {
        GroupCommand::List(GroupListArgs { stream, judging }) => (stream, None, judging),
        GroupCommand::Status(GroupStatusArgs { stream, group, judging }) => (stream, group, judging),
        GroupCommand::Watch(arguments) => return watch::run(client, &arguments, output, shutdown).await,
        GroupCommand::Seek(arguments) => return seek(client, arguments, output, shutdown).await,
        GroupCommand::Delete(arguments) => return delete(client, arguments, output, shutdown).await,
    };
    let shown = shutdown.unless_asked(show(client, &stream, group, &judging, output)).await;
    shown.unwrap_or(Ok(Exit::Interrupted))
}

async fn seek(
    client: &Client,
    arguments: GroupSeekArgs,
    output: &Output,
    mut shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let GroupSeekArgs { whose: Whose { stream, group }, to } = arguments;
    let place = start::parse("--to", &to, client.capabilities())?;
    let moved = shutdown.finish(client.admin().seek_group(&stream, &group, place)).await;
    moved.ok_or_else(|| Failure::unknown(format_args!("{group:?} on {stream:?} was moved")))??;
    let text = format!("moved {group} on {stream} to {to}");
    let record = Record::Seek { stream: stream.to_string(), group: group.to_string(), to };
    output.show(&record, |_| text).await?;
    Ok(Exit::Done)
}

async fn delete(
    client: &Client,
    arguments: GroupDeleteArgs,
    output: &Output,
    mut shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let Whose { stream, group } = arguments.whose;
    let deleted = shutdown.finish(client.admin().delete_group(&stream, &group)).await;
    deleted.ok_or_else(|| Failure::unknown(format_args!("{group:?} on {stream:?} was deleted")))??;
    let record = Record::Deleted(Deleted { stream: stream.to_string(), group: Some(group.to_string()) });
    output.show(&record, |_| format!("deleted {group} on {stream}")).await?;
    Ok(Exit::Done)
}

/// Shows one group or all of a stream.
async fn show(
    client: &Client,
    stream: &StreamName,
    group: Option<GroupName>,
    judging: &Judging,
    output: &Output,
) -> Result<Exit, Failure> {
    let groups = match group {
        Some(group) => vec![group],
        None => looks::groups(client.admin().stream(stream).await?)?,
    };
    let earlier = look(client, stream, &groups).await?;
    let now = if judging.window.is_zero() {
        None
    } else {
        tokio::time::sleep(judging.window).await;
        Some(look(client, stream, &groups).await?)
    };
    let mut exit = Exit::Done;
    for (n, earlier) in earlier.iter().enumerate() {
        let (status, judgement, rates) = match now.as_ref().map(|now| &now[n]) {
            Some(status) => (status, status.judge_since(earlier), Some(status.rates_since(earlier))),
            None => (earlier, earlier.judge(), None),
        };
        if fails(judging, judgement.state) {
            complain(format_args!("{} on {stream} is {}: {}", groups[n], judgement.state.as_str(), judgement.evidence));
            exit = Exit::Failed;
        }
        output.show(&GroupRecord::new(status, judgement, rates), GroupRecord::text).await?;
    }
    if groups.is_empty() {
        output.tell(format_args!("{stream} has no groups"));
    }
    Ok(exit)
}

async fn look(client: &Client, stream: &StreamName, groups: &[GroupName]) -> Result<Vec<GroupStatus>> {
    try_join_all(groups.iter().map(|group| client.group_status(stream, group))).await
}

fn fails(judging: &Judging, state: GroupState) -> bool {
    judging.fail_on.iter().any(|bad| bad.is(state))
}
