//! Where partitions begin and end.

use std::collections::BTreeMap;
use std::time::Duration;

use zephcast_core::Result;

use super::{Cluster, names_no_topic};
use crate::error::Failure;
use crate::native::{self, OffsetOf, Partition};

/// How long a look waits for the leaders of partitions.
const LOOK: Duration = Duration::from_secs(3);

impl Cluster {
    /// An offset of each of these partitions; one that is gone is left out.
    pub(crate) async fn offsets(
        &self,
        operation: &'static str,
        partitions: &[Partition],
        of: OffsetOf,
    ) -> Result<BTreeMap<Partition, i64>> {
        let answer = self.ask(operation, |library, timeout| async move {
            let offsets = native::list_offsets(&library, timeout, partitions, of).await?.into_iter();
            let is_there = |(_, offset): &(_, Result<i64, Failure>)| {
                !offset.as_ref().is_err_and(|failure| names_no_topic(failure.code))
            };
            offsets.filter(is_there).map(|(partition, offset)| Ok((partition, offset?))).collect()
        });
        answer.await
    }

    /// As [`offsets`](Self::offsets), for a look: none where the leader does not answer soon, unless no leader does.
    pub(crate) async fn offsets_seen(
        &self,
        operation: &'static str,
        partitions: &[Partition],
        of: OffsetOf,
    ) -> Result<BTreeMap<Partition, Option<i64>>> {
        let timeout = self.config().request_timeout.min(LOOK);
        let look = |library, timeout| async move {
            let offsets = native::list_offsets(&library, timeout, partitions, of).await?;
            let (mut seen, mut answered, mut silence) = (BTreeMap::new(), false, None);
            for (partition, offset) in offsets {
                match offset {
                    Ok(offset) => {
                        answered = true;
                        seen.insert(partition, Some(offset));
                    }
                    Err(failure) if names_no_topic(failure.code) => answered = true,
                    Err(failure) => {
                        silence = Some(failure);
                        seen.insert(partition, None);
                    }
                }
            }
            match silence {
                Some(failure) if !answered => Err(failure),
                _ => Ok(seen),
            }
        };
        self.ask_for(operation, timeout, look).await
    }

    /// Takes away the records before an offset of each of these partitions, and says where each begins then.
    pub(crate) async fn delete_records(
        &self,
        operation: &'static str,
        before: &BTreeMap<Partition, i64>,
    ) -> Result<BTreeMap<Partition, i64>> {
        let answer = self.ask(operation, |library, timeout| async move {
            let begins = native::delete_records(&library, timeout, before).await?.into_iter();
            begins.map(|(partition, begin)| Ok((partition, begin?))).collect()
        });
        answer.await
    }
}

/// The partitions of a topic.
pub(crate) fn partitions_of(topic: &str, count: u32) -> impl Iterator<Item = Partition> {
    (0..count.cast_signed()).map(move |partition| (topic.to_owned(), partition))
}
