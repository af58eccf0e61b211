//! `zephcast group`: how far groups are, who their members are, and whether they make progress.

use futures_util::future::try_join_all;
use zephcast::{Client, GroupName, GroupState, GroupStatus, Result, StreamName};

use crate::args::group::{GroupCommand, GroupListArgs, GroupStatusArgs, Judging};
use crate::exit::{Exit, Failure};
use crate::output::groups::GroupRecord;
use crate::output::{Output, complain};

/// Shows one group or all of a stream.
pub(crate) async fn run(client: &Client, command: GroupCommand, output: &Output) -> Result<Exit, Failure> {
    let (stream, group, judging) = match command {
        GroupCommand::List(GroupListArgs { stream, judging }) => (stream, None, judging),
        GroupCommand::Status(GroupStatusArgs { stream, group, judging }) => (stream, group, judging),
    };
    let groups = match group {
        Some(group) => vec![group],
        None => client.admin().stream(&stream).await?.groups,
    };
    show(client, &stream, &groups, &judging, output).await
}

async fn show(
    client: &Client,
    stream: &StreamName,
    groups: &[GroupName],
    judging: &Judging,
    output: &Output,
) -> Result<Exit, Failure> {
    let earlier = look(client, stream, groups).await?;
    let now = if judging.window.is_zero() {
        None
    } else {
        tokio::time::sleep(judging.window).await;
        Some(look(client, stream, groups).await?)
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
