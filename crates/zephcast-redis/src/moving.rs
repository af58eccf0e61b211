//! Moving a group, and deleting one: each a script, so that nobody joins in the middle of it.

use fred::types::Value;
use zephcast_core::driver::has_members;
use zephcast_core::{Broker, GroupName, Result, Start, StreamName};

use crate::connection::Connection;
use crate::keys::Keys;
use crate::member::start_id;
use crate::reply::{array, text};
use crate::scripts::{DELETE_GROUP, SEEK, Script};
use crate::status::{FOREIGN_LEASE, no_group, no_stream};

/// Moves a group. What is pending on the stream is forgotten; what the group has a copy of stays.
///
/// # Errors
/// `NotFound`, naming what does not exist; `Conflict` while members live.
pub(crate) async fn seek(control: &Connection, stream: &StreamName, group: &GroupName, to: Start) -> Result<()> {
    const OPERATION: &str = "move a group";
    let to = start_id(OPERATION, to)?;
    unless_lived_in(control, OPERATION, &SEEK, (stream, group), &to).await
}

/// Deletes a group and its helper keys.
///
/// # Errors
/// `NotFound`, naming what does not exist; `Conflict` while members live.
pub(crate) async fn delete(control: &Connection, stream: &StreamName, group: &GroupName) -> Result<()> {
    unless_lived_in(control, "delete a group", &DELETE_GROUP, (stream, group), "").await
}

/// Runs a script that answers who lives in the group, and has then done nothing.
async fn unless_lived_in(
    control: &Connection,
    operation: &'static str,
    script: &Script,
    (stream, group): (&StreamName, &GroupName),
    argument: &str,
) -> Result<()> {
    let keys = Keys::new(stream, group);
    let on = [keys.stream.as_str(), &keys.retry, &keys.members, &keys.delayed, &keys.dead];
    let foreign_lease = Value::from(FOREIGN_LEASE.as_millis() as i64);
    let answer = control.try_run(operation, script, &on, || {
        // As for every script on what a member holds, without a member.
        vec![keys.group.as_str().into(), "".into(), "".into(), foreign_lease.clone(), argument.into()]
    });
    let answer = answer.await?.map_err(|failure| match failure.has_code("NOGROUP") {
        true => no_group(operation, stream, group),
        false => no_stream(operation, stream, failure),
    })?;
    let mut living: Vec<String> =
        array(operation, answer)?.into_iter().map(|name| text(operation, name)).collect::<Result<_>>()?;
    living.sort_unstable();
    match living.is_empty() {
        true => Ok(()),
        false => Err(has_members(operation, group, &living).on(Broker::Redis)),
    }
}
