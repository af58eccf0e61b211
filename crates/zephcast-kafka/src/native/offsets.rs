//! Where partitions begin and end, and taking away what is before an offset.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_DeleteRecords, rd_kafka_DeleteRecords_destroy, rd_kafka_DeleteRecords_new,
    rd_kafka_DeleteRecords_result_offsets, rd_kafka_ListOffsets, rd_kafka_ListOffsets_result_infos,
    rd_kafka_ListOffsetsResultInfo_topic_partition, rd_kafka_admin_op_t as Api, rd_kafka_event_DeleteRecords_result,
    rd_kafka_event_ListOffsets_result,
};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::answer::{copied, elements, text};
use super::code::outcome_at;
use super::pending::{call, only_committed};
use super::{Library, Partition};
use crate::error::Failure;

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetOf {
    /// The oldest record that is still there.
    Begin,
    /// After the newest record.
    End,
    /// After the newest record that a reader of committed records gets.
    CommittedEnd,
    /// The first record at or after this time, in milliseconds since the Unix epoch; -1 when there is none.
    Time(i64),
}

/// An offset of each of these partitions, or why there is none.
pub(crate) async fn list_offsets(
    client: &Library,
    timeout: Duration,
    partitions: impl IntoIterator<Item = &Partition>,
    of: OffsetOf,
) -> Result<BTreeMap<Partition, Result<i64, Failure>>, Failure> {
    let spec = match of {
        OffsetOf::Begin => Offset::Beginning,
        OffsetOf::End | OffsetOf::CommittedEnd => Offset::End,
        OffsetOf::Time(ms) => Offset::Offset(ms.max(0)),
    };
    let list = listed(partitions.into_iter().map(|partition| (partition, spec)))?;
    if list.count() == 0 {
        return Ok(BTreeMap::new());
    }
    let pending = call(client, Api::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout, |call| {
        if of == OffsetOf::CommittedEnd {
            only_committed(call);
        }
        // SAFETY: everything is alive, and copied by the call.
        unsafe { rd_kafka_ListOffsets(call.client, list.ptr(), call.options, call.queue) };
    });
    // A list may belong to its client, and must not outlive it.
    drop(list);
    let answer = pending.await.checked()?;
    let mut count = 0;
    // SAFETY: what is answered lives as long as the answer.
    let offsets = unsafe {
        let result = rd_kafka_event_ListOffsets_result(answer.event());
        let infos = elements(rd_kafka_ListOffsets_result_infos(result, &raw mut count), count);
        let copy = infos.iter().filter_map(|info| {
            let element = rd_kafka_ListOffsetsResultInfo_topic_partition(*info).as_ref()?;
            let outcome = outcome_at(&raw const element.err).map_err(|code| Failure::new(code, String::new()));
            let offset = outcome.and_then(|()| found(element.offset, of));
            Some(((text(element.topic), element.partition), offset))
        });
        copy.collect()
    };
    Ok(offsets)
}

/// What a broker answered. One that did not answer leaves an offset that is none, and no error: librdkafka forgets it when
/// it puts the answers of several brokers together (`rd_kafka_ListOffsets_response_merge`, librdkafka 2.12.1).
fn found(offset: i64, of: OffsetOf) -> Result<i64, Failure> {
    match (offset, of) {
        (0.., _) | (-1, OffsetOf::Time(_)) => Ok(offset),
        _ => Err(Failure::new(Code::OffsetNotAvailable, "the leader of a partition did not answer".into())),
    }
}

/// Takes away the records before an offset of each of these partitions; the answer is where each begins now.
pub(crate) async fn delete_records(
    client: &Library,
    timeout: Duration,
    before: &BTreeMap<Partition, i64>,
) -> Result<BTreeMap<Partition, Result<i64, Failure>>, Failure> {
    let list = listed(before.iter().map(|(partition, offset)| (partition, Offset::Offset(*offset))))?;
    if list.count() == 0 {
        return Ok(BTreeMap::new());
    }
    let pending = call(client, Api::RD_KAFKA_ADMIN_OP_DELETERECORDS, timeout, |call| {
        // SAFETY: everything is alive, and copied by the call; what is made here is destroyed here.
        unsafe {
            let mut request = rd_kafka_DeleteRecords_new(list.ptr());
            rd_kafka_DeleteRecords(call.client, &raw mut request, 1, call.options, call.queue);
            rd_kafka_DeleteRecords_destroy(request);
        }
    });
    drop(list);
    let answer = pending.await.checked()?;
    // SAFETY: what is answered lives as long as the answer.
    let begins =
        unsafe { copied(rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(answer.event()))) };
    Ok(begins.into_iter().map(|begin| (begin.partition, begin.outcome.map(|()| begin.offset))).collect())
}

/// A list that belongs to nobody: made here, of names and numbers.
pub(super) fn listed<'a>(
    partitions: impl Iterator<Item = (&'a Partition, Offset)>,
) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in partitions {
        let added = list.add_partition_offset(topic, *partition, offset);
        added.map_err(|error| Failure::new(Code::InvalidArgument, error.to_string()))?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_that_is_none_is_an_error() {
        assert_eq!(found(0, OffsetOf::Begin), Ok(0));
        assert_eq!(found(-1, OffsetOf::Time(7)), Ok(-1));
        for (offset, of) in [(-1, OffsetOf::End), (-1001, OffsetOf::Begin), (-1001, OffsetOf::Time(7))] {
            assert_eq!(found(offset, of).unwrap_err().code, Code::OffsetNotAvailable);
        }
    }
}
