//! Which groups there are, and removing some.

use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_ConsumerGroupListing_group_id, rd_kafka_DeleteGroup_destroy, rd_kafka_DeleteGroup_new,
    rd_kafka_DeleteGroups, rd_kafka_DeleteGroups_result_groups, rd_kafka_ListConsumerGroups,
    rd_kafka_ListConsumerGroups_result_errors, rd_kafka_ListConsumerGroups_result_valid, rd_kafka_admin_op_t as Api,
    rd_kafka_event_DeleteGroups_result, rd_kafka_event_ListConsumerGroups_result, rd_kafka_group_result_error,
    rd_kafka_group_result_name,
};

use super::Library;
use super::answer::{c_text, elements, outcome_of, text};
use super::coordinator::ask;
use super::pending::call;
use crate::error::Failure;

/// The names of all groups that the user may see, of both protocols.
pub(crate) async fn list_groups(client: &Library, timeout: Duration) -> Result<Vec<String>, Failure> {
    let pending = call(client, Api::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, timeout, |call| {
        // SAFETY: everything is alive, and copied by the call.
        unsafe { rd_kafka_ListConsumerGroups(call.client, call.options, call.queue) };
    });
    let answer = pending.await.checked()?;
    let (mut valid, mut failed) = (0, 0);
    // SAFETY: what is answered lives as long as the answer.
    unsafe {
        let result = rd_kafka_event_ListConsumerGroups_result(answer.event());
        let groups = rd_kafka_ListConsumerGroups_result_valid(result, &raw mut valid);
        let errors = rd_kafka_ListConsumerGroups_result_errors(result, &raw mut failed);
        // A broker that does not answer may have groups: an incomplete list is none.
        elements(errors, failed).iter().try_for_each(|error| outcome_of(*error))?;
        let names = elements(groups, valid).iter().map(|group| text(rd_kafka_ConsumerGroupListing_group_id(*group)));
        Ok(names.collect())
    }
}

/// Removes groups with everything that they committed; each answer by its name. Refused where they have members.
pub(crate) async fn delete_groups(
    client: &Library,
    timeout: Duration,
    groups: &[&str],
) -> Result<Vec<(String, Result<(), Failure>)>, Failure> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let names = groups.iter().map(|group| c_text(group)).collect::<Result<Vec<_>, _>>()?;
    let asked = ask(client, Api::RD_KAFKA_ADMIN_OP_DELETEGROUPS, |call| {
        // SAFETY: everything is alive, and copied by the call; what is made here is destroyed here.
        unsafe {
            let mut requests: Vec<_> = names.iter().map(|name| rd_kafka_DeleteGroup_new(name.as_ptr())).collect();
            rd_kafka_DeleteGroups(call.client, requests.as_mut_ptr(), requests.len(), call.options, call.queue);
            requests.into_iter().for_each(|request| rd_kafka_DeleteGroup_destroy(request));
        }
    });
    let answer = asked.within(timeout).await?;
    let mut count = 0;
    // SAFETY: what is answered lives as long as the answer.
    unsafe {
        let result = rd_kafka_event_DeleteGroups_result(answer.event());
        let groups = elements(rd_kafka_DeleteGroups_result_groups(result, &raw mut count), count);
        let outcomes = groups
            .iter()
            .map(|group| (text(rd_kafka_group_result_name(*group)), outcome_of(rd_kafka_group_result_error(*group))));
        Ok(outcomes.collect())
    }
}
