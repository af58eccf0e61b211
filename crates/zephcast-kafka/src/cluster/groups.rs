//! Groups: which there are, who is in them, and where they are.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use rdkafka::error::RDKafkaErrorCode as Code;
use zephcast_core::{ErrorKind, Result};

use super::Cluster;
use crate::error::{Failure, code_of, kind_of};
use crate::native::{self, Committed, GroupDescription, Partition};

/// How long after taking office a coordinator may not know of the last commits.
const TAKEN_OFFICE: Duration = Duration::from_millis(500);
/// How many groups are asked for at once.
const AT_ONCE: usize = 16;

impl Cluster {
    /// Everything that a group committed.
    pub(crate) async fn committed(&self, operation: &'static str, group: &str) -> Result<Vec<Committed>> {
        self.ask(operation, |library, timeout| async move { native::committed(&library, timeout, group).await }).await
    }

    /// As [`committed`](Self::committed), for whoever concludes from nothing in a topic that the group is new there. A
    /// coordinator that has just taken office answers for a moment as if the last commits had not been: it reads up to what
    /// it knows to be on all copies (`CoordinatorRuntime.scheduleReadOperation`, Kafka 4.0). So it is asked once more.
    pub(crate) async fn committed_surely(
        &self,
        operation: &'static str,
        group: &str,
        topic: &str,
    ) -> Result<Vec<Committed>> {
        let committed = self.committed(operation, group).await?;
        let is_known = committed.iter().any(|place| place.partition.0 == topic);
        if is_known || self.describe_cluster(operation).await?.nodes.len() < 2 {
            return Ok(committed);
        }
        tokio::time::sleep(TAKEN_OFFICE).await;
        self.committed(operation, group).await
    }

    /// Writes where a group is.
    ///
    /// # Errors
    /// Refused while it has members, see [`has_members`].
    pub(crate) async fn commit(&self, operation: &'static str, group: &str, places: &[Committed]) -> Result<()> {
        self.ask(operation, |library, timeout| async move { native::commit(&library, timeout, group, places).await })
            .await
    }

    /// Makes a group, which committed this, forget a stream and its helper topics: later topics of the same names begin anew.
    /// One that knows nothing else is removed. The stream comes first, since its members refuse.
    ///
    /// # Errors
    /// Refused where members consume them, see [`is_in_use`].
    pub(crate) async fn forget(
        &self,
        operation: &'static str,
        group: &str,
        committed: Vec<Committed>,
        (topic, helpers): (&str, &[&str]),
    ) -> Result<()> {
        let partitions = committed.into_iter().map(|place| place.partition);
        let (stream, others): (Vec<_>, Vec<_>) = partitions.partition(|(name, _)| name == topic);
        let (helpers, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|(name, _)| helpers.contains(&name.as_str()));
        let known: Vec<_> = [stream, helpers].into_iter().filter(|partitions| !partitions.is_empty()).collect();
        if !known.is_empty() && others.is_empty() {
            match self.delete_group(operation, group).await {
                // Its members may be there for other streams.
                Err(refusal) if code_of(&refusal).is_some_and(is_in_use) => {}
                outcome => return outcome,
            }
        }
        for partitions in known {
            self.forget_partitions(operation, group, &partitions).await?;
        }
        Ok(())
    }

    /// One that is gone has forgotten them.
    async fn forget_partitions(&self, operation: &'static str, group: &str, partitions: &[Partition]) -> Result<()> {
        let forgotten = self.ask(operation, |library, timeout| async move {
            match native::delete_offsets(&library, timeout, group, partitions).await {
                Err(failure) if failure.code == Code::GroupIdNotFound => Ok(()),
                outcome => outcome,
            }
        });
        forgotten.await
    }

    /// Removes a group. A group that does not exist is no error.
    ///
    /// # Errors
    /// Refused where it has members, see [`is_in_use`].
    pub(crate) async fn delete_group(&self, operation: &'static str, group: &str) -> Result<()> {
        let outcomes = self
            .ask(operation, |library, timeout| async move { native::delete_groups(&library, timeout, &[group]).await });
        for (_, outcome) in outcomes.await? {
            match outcome {
                Err(failure) if failure.code == Code::GroupIdNotFound => {}
                outcome => outcome.map_err(|failure| failure.into_error(operation))?,
            }
        }
        Ok(())
    }

    /// A group with its members; without any when it does not exist.
    pub(crate) async fn describe_group(&self, operation: &'static str, group: &str) -> Result<GroupDescription> {
        let nobody = GroupDescription { name: group.to_owned(), rebalances: false, members: Vec::new() };
        let described = self.ask(operation, |library, timeout| async move {
            match native::describe_groups(&library, timeout, &[group]).await?.pop() {
                Some(Err(failure)) if failure.code == Code::GroupIdNotFound => Ok(None),
                described => described.transpose(),
            }
        });
        Ok(described.await?.unwrap_or(nobody))
    }

    /// The groups of these names that the user may look at.
    pub(crate) async fn describe_groups(
        &self,
        operation: &'static str,
        groups: &[String],
    ) -> Result<Vec<GroupDescription>> {
        let names: &[&str] = &groups.iter().map(String::as_str).collect::<Vec<_>>();
        let described = self.ask(operation, |library, timeout| async move {
            let described = native::describe_groups(&library, timeout, names).await?.into_iter();
            described.filter_map(|group| visible(group).transpose()).collect()
        });
        described.await
    }

    /// The names of all groups that the user may see.
    pub(crate) async fn list_groups(&self, operation: &'static str) -> Result<Vec<String>> {
        self.ask(operation, |library, timeout| async move { native::list_groups(&library, timeout).await }).await
    }

    /// What each group committed, of all that the user may look at.
    pub(crate) async fn committed_by_all(&self, operation: &'static str) -> Result<Vec<(String, Vec<Committed>)>> {
        let groups = self.list_groups(operation).await?;
        let committed = stream::iter(groups).map(|group| async move {
            let name = group.as_str();
            let committed = self.ask(operation, |library, timeout| async move {
                visible(native::committed(&library, timeout, name).await)
            });
            let committed = committed.await?;
            Ok((group, committed.unwrap_or_default()))
        });
        committed.buffered(AT_ONCE).try_collect().await
    }
}

/// What was answered, unless the user may not see it or it is gone.
fn visible<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Err(failure) if matches!(kind_of(failure.code), ErrorKind::PermissionDenied | ErrorKind::NotFound) => Ok(None),
        answer => answer.map(Some),
    }
}

/// Whether a group refused since it has members, who commit themselves.
pub(crate) fn has_members(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownMemberId
            | Code::NonEmptyGroup
            | Code::IllegalGeneration
            | Code::RebalanceInProgress
            | Code::StaleMemberEpoch
            | Code::FencedMemberEpoch
    )
}

/// Whether a group refused to be removed, or to forget, since it has members.
pub(crate) fn is_in_use(code: Code) -> bool {
    matches!(code, Code::NonEmptyGroup | Code::GroupSubscribedToTopic)
}

/// The outcome, where a group that is in use is left as it is.
pub(crate) fn unless_in_use(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(refusal) if code_of(&refusal).is_some_and(is_in_use) => Ok(()),
        outcome => outcome,
    }
}
