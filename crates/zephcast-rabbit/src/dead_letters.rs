//! What a group gave up: looking, sending back, forgetting.
//!
//! The dead letters are a queue, and a queue has no places. A dead letter is therefore known by when it failed last, by what
//! it is, and by how many of the same lie behind it, and looking takes messages without settling them: they are back when
//! the channel closes.

mod armful;
mod letter;
mod look;
mod page;
mod place;
mod redrive;
#[cfg(test)]
mod tests;

use lapin::options::QueuePurgeOptions;
use zephcast_core::driver::DeadLetter;
use zephcast_core::{Position, Result};

use self::letter::Letter;
use self::look::Look;
use self::page::Page;
pub(crate) use self::redrive::redrive;
use crate::brokers::Brokers;
use crate::errand::Errand;
use crate::error::code;
use crate::names::Names;
use crate::native;
use crate::status::existing;

const OPERATION: &str = "dead letters";

/// So many are listed at once for whoever wants all of them: each look goes through the whole queue, whatever it keeps.
/// Memory is bounded by bytes, which come to an end first where letters are large.
pub(crate) const AT_ONCE: usize = 100_000;

pub(crate) async fn list(
    brokers: &Brokers,
    names: &Names,
    after: Option<Position>,
    limit: usize,
) -> Result<Vec<DeadLetter>> {
    native::refuse(brokers, OPERATION)?;
    let mut page = Page::new(after.map(|after| after.token), limit);
    let mut look = Look::open(brokers, names);
    while let Some(delivery) = look.next().await? {
        page.add(Letter::open(names, delivery));
    }
    look.close().await?;
    let letters = page.finish();
    if letters.is_empty() {
        // None, or nothing of the kind.
        existing(brokers, OPERATION, names).await?;
    }
    Ok(letters)
}

pub(crate) async fn purge(brokers: &Brokers, names: &Names) -> Result<u64> {
    native::refuse(brokers, OPERATION)?;
    existing(brokers, OPERATION, names).await?;
    let errand = Errand::begin(&brokers.control, OPERATION).await?;
    let purged = errand.channel().queue_purge(names.dead.as_str().into(), QueuePurgeOptions::default());
    match errand.try_call(purged).await {
        Ok(count) => Ok(count.into()),
        Err(failure) if failure.has_code(code::NOT_FOUND) => Ok(0),
        Err(failure) => Err(errand.failed(failure)),
    }
}
