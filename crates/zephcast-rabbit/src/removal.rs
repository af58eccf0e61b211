//! Taking things away: groups with their queues, and whole streams.

use std::collections::BTreeSet;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use zephcast_core::{Error, ErrorKind, GroupName, Result, StreamName};

use crate::admin::groups;
use crate::brokers::Brokers;
use crate::config::Exchange;
use crate::errand::Errand;
use crate::error::{code, error, missing};
use crate::names::{Names, group_of};
use crate::{status, topology};

/// Deletes a group that nobody consumes from.
///
/// # Errors
/// `NotFound`, naming what does not exist; `Conflict`, naming them, while it has members.
pub(crate) async fn delete_group(brokers: &Brokers, names: &Names) -> Result<()> {
    const OPERATION: &str = "delete a group";
    if let Some(refusal) = status::lived_in(brokers, OPERATION, names).await? {
        return Err(refusal);
    }
    Broom::open(brokers, OPERATION).await?.sweep(names).await
}

/// Deletes a stream and every group of it, whoever consumes from them. The exchange is the last, so that calling again
/// finds what is left.
///
/// # Errors
/// `NotFound`, naming it, when it does not exist; `Conflict` when it has groups and nobody says which: nothing is deleted.
pub(crate) async fn delete_stream(brokers: &Brokers, stream: &StreamName) -> Result<()> {
    const OPERATION: &str = "delete a stream";
    if brokers.control.config().exchange == Exchange::Default {
        let text = "without an exchange a stream is a queue: delete it as a group, or by the broker's own tools";
        return Err(error(ErrorKind::Unsupported, OPERATION, text));
    }
    if !topology::has_exchange(&brokers.control, OPERATION, stream.as_str()).await? {
        return Err(missing(OPERATION, stream.as_str()));
    }
    let known = match known(brokers, stream).await {
        Ok(known) => known,
        Err(unknown) => return delete_unbound(brokers, stream, unknown).await,
    };
    let broom = Broom::open(brokers, OPERATION).await?;
    for group in known {
        broom.sweep(&Names::new(brokers.control.config(), stream, &group)?).await?;
    }
    broom.exchange(stream.as_str()).await
}

/// The groups that a stream has, and had.
async fn known(brokers: &Brokers, stream: &StreamName) -> Result<BTreeSet<GroupName>> {
    const OPERATION: &str = "delete a stream";
    let nobody_knows = || error(ErrorKind::Unsupported, OPERATION, "which groups there are is not known");
    let mut known = groups(brokers, OPERATION, stream).await?.ok_or_else(nobody_knows)?;
    known.extend(left_over(brokers, stream).await?);
    Ok(known)
}

/// Deletes the exchange of a stream unless anything is bound to it, which the server itself sees to: a queue of a group
/// that nobody names would stay, full of what no member gets any more.
async fn delete_unbound(brokers: &Brokers, stream: &StreamName, unknown: Error) -> Result<()> {
    const OPERATION: &str = "delete a stream";
    let errand = Errand::begin(&brokers.control, OPERATION).await?;
    let options = ExchangeDeleteOptions { if_unused: true, ..ExchangeDeleteOptions::default() };
    let deleted = errand.channel().exchange_delete(stream.as_str().into(), options);
    match errand.try_call(deleted).await {
        Ok(()) => Ok(()),
        Err(failure) if failure.has_code(code::PRECONDITION_FAILED) => {
            let way = match brokers.control.config().queue {
                Some(_) => {
                    "nothing says whose the queue is that the settings name: nothing was deleted; delete each group first"
                }
                None => {
                    "only the management API knows which: nothing was deleted; name it with `management=http://HOST:15672`, \
                     or delete each group first"
                }
            };
            let text = format!("the stream {stream:?} has groups, and {way}");
            Err(error(ErrorKind::Conflict, OPERATION, text).caused_by(unknown))
        }
        Err(failure) => Err(errand.failed(failure)),
    }
}

/// Groups of which there are suspects at least: somebody deleted their queues by other means.
async fn left_over(brokers: &Brokers, stream: &StreamName) -> Result<Vec<GroupName>> {
    const OPERATION: &str = "delete a stream";
    let management = brokers.management(OPERATION, "which queues there are")?;
    let queues = management.queues(OPERATION, &format!("{stream}.")).await?;
    let of_suspects = queues.iter().filter_map(|queue| queue.strip_suffix(".suspects"));
    Ok(of_suspects.filter_map(|queue| group_of(stream, queue)).collect())
}

/// Deletes one thing after the other. What does not exist is as good as deleted.
struct Broom<'a> {
    brokers: &'a Brokers,
    errand: Errand<'a>,
}

impl<'a> Broom<'a> {
    async fn open(brokers: &'a Brokers, operation: &'static str) -> Result<Self> {
        Ok(Self { brokers, errand: Errand::begin(&brokers.control, operation).await? })
    }

    /// The group's queue is the last, so that a call that failed can be made again.
    async fn sweep(&self, names: &Names) -> Result<()> {
        for queue in names.retries().chain([&names.suspects, &names.hints, &names.dead].map(Clone::clone)) {
            self.queue(&queue).await?;
        }
        self.exchange(&names.members).await?;
        self.queue(&names.queue).await?;
        self.brokers.mover.forget_all();
        Ok(())
    }

    async fn queue(&self, name: &str) -> Result<()> {
        let channel = self.errand.channel();
        self.errand.call(channel.queue_delete(name.into(), QueueDeleteOptions::default())).await.map(drop)
    }

    async fn exchange(&self, name: &str) -> Result<()> {
        let channel = self.errand.channel();
        self.errand.call(channel.exchange_delete(name.into(), ExchangeDeleteOptions::default())).await
    }
}
