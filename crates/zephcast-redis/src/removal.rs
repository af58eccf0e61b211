//! Taking things away: what is settled, and whole streams. Nothing holds the server up for long.

use std::collections::BTreeSet;

use bytes::Bytes;
use fred::types::Value;
use zephcast_core::{GroupName, Result, StreamName};

use crate::connection::Connection;
use crate::keys::{Keys, helpers_pattern};
use crate::reply::{array, count, elements, text};
use crate::scripts::TRIM;
use crate::status::{groups, no_stream};

/// Keys of one `UNLINK`.
const PAGE: usize = 100;

/// Removes from the stream what every group has settled, a step at a time; returns how many entries.
///
/// # Errors
/// `NotFound`, naming the stream, when it does not exist.
pub(crate) async fn trim(control: &Connection, stream: &StreamName) -> Result<u64> {
    const OPERATION: &str = "trim";
    let mut trimmed = 0;
    loop {
        let step = control.try_run(OPERATION, &TRIM, &[stream.as_str()], Vec::new).await?;
        let step = step.map_err(|failure| no_stream(OPERATION, stream, failure))?;
        let [removed, more] = elements(OPERATION, step)?;
        trimmed += count(OPERATION, &removed)?;
        if count(OPERATION, &more)? == 0 {
            return Ok(trimmed);
        }
    }
}

/// Deletes the stream and every helper key of it, also those of groups that are gone.
///
/// # Errors
/// `NotFound`, naming the stream, when it does not exist.
pub(crate) async fn delete(control: &Connection, stream: &StreamName) -> Result<()> {
    const OPERATION: &str = "delete a stream";
    let mut doomed: BTreeSet<String> = helpers(control, OPERATION, stream).await?;
    for group in groups(control, OPERATION, stream).await? {
        // A group whose name no member can use has no helper keys.
        if let Ok(group) = GroupName::new(group.name) {
            doomed.extend(Keys::new(stream, &group).helpers().map(str::to_owned));
        }
    }
    let doomed: Vec<String> = doomed.into_iter().collect();
    // The stream comes last: as long as it is there, a call that failed can be made again.
    for page in doomed.chunks(PAGE) {
        let keys = page.iter().map(|key| Value::from(key.as_str())).collect();
        control.call(OPERATION, "UNLINK", Some(stream.as_str()), keys).await?;
    }
    control.call(OPERATION, "UNLINK", Some(stream.as_str()), vec![stream.as_str().into()]).await.map(drop)
}

/// Every helper key of the stream that there is.
async fn helpers(control: &Connection, operation: &'static str, stream: &StreamName) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut cursor = Bytes::from_static(b"0");
    loop {
        let pattern = helpers_pattern(stream);
        let arguments: Vec<Value> = vec![cursor.into(), "MATCH".into(), pattern.into(), "COUNT".into(), "1000".into()];
        // By the stream's name a cluster finds the node that has its slot, and so all of its keys.
        let page = match control.try_call(operation, "SCAN", Some(stream.as_str()), arguments).await? {
            // Whoever may not look around deletes what is known of the groups.
            Err(failure) if failure.has_code("NOPERM") => return Ok(found),
            page => page.map_err(|failure| failure.into_error(operation))?,
        };
        let [next, keys] = elements(operation, page)?;
        for key in array(operation, keys)? {
            let key = text(operation, key)?;
            found.extend(Some(key).filter(|key| Keys::is_helper_of(stream, key)));
        }
        cursor = crate::reply::bytes(operation, next)?;
        if cursor == "0" {
            return Ok(found);
        }
    }
}
