//! One group: its members, and where it is.

use std::ffi::c_char;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::bindings::{
    rd_kafka_AlterConsumerGroupOffsets, rd_kafka_AlterConsumerGroupOffsets_destroy,
    rd_kafka_AlterConsumerGroupOffsets_new, rd_kafka_AlterConsumerGroupOffsets_result_groups,
    rd_kafka_ConsumerGroupDescription_error, rd_kafka_ConsumerGroupDescription_group_id,
    rd_kafka_ConsumerGroupDescription_member, rd_kafka_ConsumerGroupDescription_member_count,
    rd_kafka_ConsumerGroupDescription_state, rd_kafka_ConsumerGroupDescription_t, rd_kafka_DeleteConsumerGroupOffsets,
    rd_kafka_DeleteConsumerGroupOffsets_destroy, rd_kafka_DeleteConsumerGroupOffsets_new,
    rd_kafka_DeleteConsumerGroupOffsets_result_groups, rd_kafka_DescribeConsumerGroups,
    rd_kafka_DescribeConsumerGroups_result_groups, rd_kafka_ListConsumerGroupOffsets,
    rd_kafka_ListConsumerGroupOffsets_destroy, rd_kafka_ListConsumerGroupOffsets_new,
    rd_kafka_ListConsumerGroupOffsets_result_groups, rd_kafka_MemberAssignment_partitions,
    rd_kafka_MemberDescription_assignment, rd_kafka_MemberDescription_client_id,
    rd_kafka_MemberDescription_consumer_id, rd_kafka_MemberDescription_t, rd_kafka_admin_op_t as Api,
    rd_kafka_consumer_group_state_t as State, rd_kafka_event_AlterConsumerGroupOffsets_result,
    rd_kafka_event_DeleteConsumerGroupOffsets_result, rd_kafka_event_DescribeConsumerGroups_result,
    rd_kafka_event_ListConsumerGroupOffsets_result, rd_kafka_group_result_error, rd_kafka_group_result_partitions,
    rd_kafka_group_result_t,
};

use super::answer::{Element, c_text, copied, elements, outcome_of, text};
use super::coordinator::ask;
use super::offsets::listed;
use super::{Library, Partition};
use crate::error::Failure;

/// Where a group is in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) partition: Partition,
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// A group as its coordinator knows it.
#[derive(Clone, Debug)]
pub(crate) struct GroupDescription {
    pub(crate) name: String,
    /// Members come and go, and who has what is not decided.
    pub(crate) rebalances: bool,
    pub(crate) members: Vec<GroupMember>,
}

/// A member as its coordinator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupMember {
    pub(crate) client_id: String,
    pub(crate) member_id: String,
    pub(crate) partitions: Vec<Partition>,
}

/// Everything that a group committed; nothing of a group that does not exist.
pub(crate) async fn committed(client: &Library, timeout: Duration, group: &str) -> Result<Vec<Committed>, Failure> {
    let group = c_text(group)?;
    let asked = ask(client, Api::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, |call| {
        // SAFETY: everything is alive, and copied by the call; what is made here is destroyed here. Without a list of
        // partitions all of them are meant.
        unsafe {
            let mut request = rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), std::ptr::null());
            rd_kafka_ListConsumerGroupOffsets(call.client, &raw mut request, 1, call.options, call.queue);
            rd_kafka_ListConsumerGroupOffsets_destroy(request);
        }
    });
    let answer = asked.within(timeout).await?;
    let mut count = 0;
    // SAFETY: what is answered lives as long as the answer.
    let read = unsafe {
        let result = rd_kafka_event_ListConsumerGroupOffsets_result(answer.event());
        partitions_of(elements(rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count), count))?
    };
    let mut committed = Vec::with_capacity(read.len());
    for Element { partition, offset, metadata, outcome } in read {
        outcome?;
        // There is no place before 0; such an element says that there is none.
        if offset >= 0 {
            committed.push(Committed { partition, offset, metadata });
        }
    }
    Ok(committed)
}

/// Writes where a group is. Refused while it has members.
pub(crate) async fn commit(
    client: &Library,
    timeout: Duration,
    group: &str,
    places: &[Committed],
) -> Result<(), Failure> {
    if places.is_empty() {
        return Ok(());
    }
    let group = c_text(group)?;
    let list = listed(places.iter().map(|place| (&place.partition, Offset::Offset(place.offset))))?;
    for Committed { partition: (topic, partition), metadata, .. } in places {
        if let Some(mut element) = list.find_partition(topic, *partition) {
            element.set_metadata(metadata);
        }
    }
    let asked = ask(client, Api::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, |call| {
        // SAFETY: as in `committed`.
        unsafe {
            let mut request = rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.ptr());
            rd_kafka_AlterConsumerGroupOffsets(call.client, &raw mut request, 1, call.options, call.queue);
            rd_kafka_AlterConsumerGroupOffsets_destroy(request);
        }
    });
    drop(list);
    let answer = asked.within(timeout).await?;
    let mut count = 0;
    // SAFETY: what is answered lives as long as the answer.
    let written = unsafe {
        let result = rd_kafka_event_AlterConsumerGroupOffsets_result(answer.event());
        partitions_of(elements(rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count), count))?
    };
    written.into_iter().try_for_each(|element| element.outcome)
}

/// Makes a group forget where it is in these partitions. Refused where it has members that consume them.
pub(crate) async fn delete_offsets(
    client: &Library,
    timeout: Duration,
    group: &str,
    partitions: impl IntoIterator<Item = &Partition>,
) -> Result<(), Failure> {
    let group = c_text(group)?;
    let list = listed(partitions.into_iter().map(|partition| (partition, Offset::Invalid)))?;
    let asked = ask(client, Api::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS, |call| {
        // SAFETY: as in `committed`.
        unsafe {
            let mut request = rd_kafka_DeleteConsumerGroupOffsets_new(group.as_ptr(), list.ptr());
            rd_kafka_DeleteConsumerGroupOffsets(call.client, &raw mut request, 1, call.options, call.queue);
            rd_kafka_DeleteConsumerGroupOffsets_destroy(request);
        }
    });
    drop(list);
    let answer = asked.within(timeout).await?;
    let mut count = 0;
    // SAFETY: what is answered lives as long as the answer.
    let deleted = unsafe {
        let result = rd_kafka_event_DeleteConsumerGroupOffsets_result(answer.event());
        partitions_of(elements(rd_kafka_DeleteConsumerGroupOffsets_result_groups(result, &raw mut count), count))?
    };
    deleted.into_iter().try_for_each(|element| element.outcome)
}

/// The partitions that are answered for one group.
///
/// # Safety
/// The answer is alive.
unsafe fn partitions_of(groups: &[*const rd_kafka_group_result_t]) -> Result<Vec<Element>, Failure> {
    let mut partitions = Vec::new();
    for group in groups {
        // SAFETY: as demanded.
        unsafe {
            outcome_of(rd_kafka_group_result_error(*group))?;
            partitions.extend(copied(rd_kafka_group_result_partitions(*group)));
        }
    }
    Ok(partitions)
}

/// These groups, each with its members, or why it is not shown. One that does not exist is without members.
pub(crate) async fn describe_groups(
    client: &Library,
    timeout: Duration,
    groups: &[&str],
) -> Result<Vec<Result<GroupDescription, Failure>>, Failure> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let names = groups.iter().map(|group| c_text(group)).collect::<Result<Vec<_>, _>>()?;
    let asked = ask(client, Api::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, |call| {
        let mut names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: everything is alive, and copied by the call.
        unsafe {
            rd_kafka_DescribeConsumerGroups(call.client, names.as_mut_ptr(), names.len(), call.options, call.queue);
        }
    });
    let answer = asked.within(timeout).await?;
    let mut count = 0;
    // SAFETY: what is answered lives as long as the answer.
    let described = unsafe {
        let result = rd_kafka_event_DescribeConsumerGroups_result(answer.event());
        let groups = elements(rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count), count);
        groups.iter().map(|group| described(*group)).collect()
    };
    Ok(described)
}

/// Copies a group.
///
/// # Safety
/// It is alive.
unsafe fn described(group: *const rd_kafka_ConsumerGroupDescription_t) -> Result<GroupDescription, Failure> {
    // SAFETY: as demanded; there are as many members as it says.
    unsafe {
        outcome_of(rd_kafka_ConsumerGroupDescription_error(group))?;
        let rebalances = matches!(
            rd_kafka_ConsumerGroupDescription_state(group),
            State::RD_KAFKA_CONSUMER_GROUP_STATE_PREPARING_REBALANCE
                | State::RD_KAFKA_CONSUMER_GROUP_STATE_COMPLETING_REBALANCE
                | State::RD_KAFKA_CONSUMER_GROUP_STATE_UNKNOWN
        );
        let members = 0..rd_kafka_ConsumerGroupDescription_member_count(group);
        Ok(GroupDescription {
            name: text(rd_kafka_ConsumerGroupDescription_group_id(group)),
            rebalances,
            members: members.map(|index| member(rd_kafka_ConsumerGroupDescription_member(group, index))).collect(),
        })
    }
}

/// Copies a member.
///
/// # Safety
/// It is alive.
unsafe fn member(member: *const rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: as demanded.
    unsafe {
        let assignment = rd_kafka_MemberDescription_assignment(member);
        let partitions = match assignment.is_null() {
            true => Vec::new(),
            false => copied(rd_kafka_MemberAssignment_partitions(assignment)),
        };
        GroupMember {
            client_id: text(rd_kafka_MemberDescription_client_id(member)),
            member_id: text(rd_kafka_MemberDescription_consumer_id(member)),
            partitions: partitions.into_iter().map(|element| element.partition).collect(),
        }
    }
}
