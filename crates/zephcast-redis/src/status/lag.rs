//! How much a group has not read, also where Redis cannot say.

use fred::types::Value;
use zephcast_core::{Result, Token};

use super::{OPERATION, OnStream};
use crate::connection::Connection;
use crate::keys::Keys;
use crate::reply::{count, elements, text};
use crate::scripts::COUNT_AFTER;

/// Entries and bytes that one call counts, so that the server is not held up.
const PAGE: i64 = 10_000;
const PAGE_BYTES: i64 = 8 * 1024 * 1024;
/// Beyond so many calls it is not known rather than counted.
const MOST_PAGES: usize = 200;

/// Redis says how much is unread, but not after entries were deleted there, after the group was moved, or before 7.0. Then
/// it is counted. Where unread entries were trimmed it still counts them, and everything that is left is unread.
///
/// `end` is the newest id that the stream ever had, `length` how many entries it has.
pub(super) async fn unread(
    control: &Connection,
    keys: &Keys,
    group: &OnStream,
    end: Token,
    length: u64,
) -> Result<Option<u64>> {
    if group.last_delivered >= end {
        return Ok(Some(0));
    }
    if let Some(lag) = group.lag {
        return Ok(Some(lag.min(length)));
    }
    let mut after = crate::token::id(group.last_delivered);
    let mut unread = 0;
    for _ in 0..MOST_PAGES {
        let stream = [keys.stream.as_str()];
        let counted = control.run(OPERATION, &COUNT_AFTER, &stream, || -> Vec<Value> {
            vec![after.as_str().into(), PAGE.into(), PAGE_BYTES.into()]
        });
        let [page, last, more] = elements(OPERATION, counted.await?)?;
        unread += count(OPERATION, &page)?;
        if count(OPERATION, &more)? == 0 {
            return Ok(Some(unread));
        }
        after = text(OPERATION, last)?;
    }
    Ok(None)
}
