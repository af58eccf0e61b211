//! Topics: making, describing, deleting.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_CreateTopics, rd_kafka_CreateTopics_result_topics, rd_kafka_DeleteTopic_destroy, rd_kafka_DeleteTopic_new,
    rd_kafka_DeleteTopics, rd_kafka_DeleteTopics_result_topics, rd_kafka_DescribeTopics,
    rd_kafka_DescribeTopics_result_topics, rd_kafka_NewTopic_destroy, rd_kafka_NewTopic_new,
    rd_kafka_NewTopic_set_config, rd_kafka_Node_id, rd_kafka_TopicCollection_destroy,
    rd_kafka_TopicCollection_of_topic_names, rd_kafka_TopicDescription_error, rd_kafka_TopicDescription_name,
    rd_kafka_TopicDescription_partitions, rd_kafka_TopicDescription_t, rd_kafka_TopicDescription_topic_id,
    rd_kafka_TopicPartitionInfo_leader, rd_kafka_TopicPartitionInfo_partition, rd_kafka_TopicPartitionInfo_replicas,
    rd_kafka_Uuid_most_significant_bits, rd_kafka_admin_op_t as Api, rd_kafka_event_CreateTopics_result,
    rd_kafka_event_DeleteTopics_result, rd_kafka_event_DescribeTopics_result, rd_kafka_topic_result_error,
    rd_kafka_topic_result_error_string, rd_kafka_topic_result_name, rd_kafka_topic_result_t,
};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::answer::{c_text, elements, outcome, outcome_of, text};
use super::pending::call;
use super::{Library, Partition};
use crate::error::Failure;
use crate::place::Place;

/// A topic to be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    /// None for the broker's default.
    pub(crate) partitions: Option<i32>,
    /// Copies of each partition; none for the broker's default.
    pub(crate) replication: Option<i32>,
    pub(crate) settings: BTreeMap<&'a str, &'a str>,
}

/// A topic as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicDescription {
    /// Half of its id, by which a topic is told from an earlier one of the same name; 0 if the broker is too old to say.
    pub(crate) id: u64,
    pub(crate) partitions: u32,
    /// The fewest copies that a partition has.
    pub(crate) replication: u32,
    /// Partitions that no node leads.
    pub(crate) leaderless: Vec<i32>,
}

impl TopicDescription {
    /// A place in it.
    pub(crate) fn place(&self, next: i64) -> Place {
        Place { topic: self.id, ..Place::at(next) }
    }

    pub(crate) fn is_led(&self) -> bool {
        self.leaderless.is_empty()
    }

    /// The partitions that somebody leads, so that something can be asked of them.
    pub(crate) fn led<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = Partition> + 'a {
        let all = 0..self.partitions.cast_signed();
        all.filter(|number| !self.leaderless.contains(number)).map(|number| (topic.to_owned(), number))
    }
}

/// Makes a topic.
pub(crate) async fn create_topic(client: &Library, timeout: Duration, topic: &NewTopic<'_>) -> Result<(), Failure> {
    let name = c_text(topic.name)?;
    let mut settings = Vec::new();
    for (key, value) in &topic.settings {
        settings.push((c_text(key)?, c_text(value)?));
    }
    let (partitions, replication) = (topic.partitions.unwrap_or(-1), topic.replication.unwrap_or(-1));
    let mut refused = [0 as c_char; 512];
    let mut made = false;
    let pending = call(client, Api::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout, |call| {
        // SAFETY: everything is alive, and copied by the call; the text is as long as is said; what is made here is
        // destroyed here.
        unsafe {
            let (text, length) = (refused.as_mut_ptr(), refused.len());
            let mut request = rd_kafka_NewTopic_new(name.as_ptr(), partitions, replication, text, length);
            if request.is_null() {
                return;
            }
            for (key, value) in &settings {
                rd_kafka_NewTopic_set_config(request, key.as_ptr(), value.as_ptr());
            }
            rd_kafka_CreateTopics(call.client, &raw mut request, 1, call.options, call.queue);
            rd_kafka_NewTopic_destroy(request);
            made = true;
        }
    });
    if !made {
        // SAFETY: librdkafka wrote a text with its end, or nothing into zeros.
        return Err(Failure::new(Code::InvalidArgument, unsafe { text(refused.as_ptr()) }));
    }
    let answer = pending.await.checked()?;
    let mut count = 0;
    // SAFETY: what is answered lives as long as the answer.
    unsafe {
        let result = rd_kafka_event_CreateTopics_result(answer.event());
        let topics = elements(rd_kafka_CreateTopics_result_topics(result, &raw mut count), count);
        topics.iter().try_for_each(|topic| topic_outcome(*topic))
    }
}

/// Deletes topics; each answer by its name.
pub(crate) async fn delete_topics(
    client: &Library,
    timeout: Duration,
    topics: &[&str],
) -> Result<Vec<(String, Result<(), Failure>)>, Failure> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let names = topics.iter().map(|topic| c_text(topic)).collect::<Result<Vec<_>, _>>()?;
    let pending = call(client, Api::RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout, |call| {
        // SAFETY: everything is alive, and copied by the call; what is made here is destroyed here.
        unsafe {
            let mut requests: Vec<_> = names.iter().map(|name| rd_kafka_DeleteTopic_new(name.as_ptr())).collect();
            rd_kafka_DeleteTopics(call.client, requests.as_mut_ptr(), requests.len(), call.options, call.queue);
            requests.into_iter().for_each(|request| rd_kafka_DeleteTopic_destroy(request));
        }
    });
    let answer = pending.await.checked()?;
    let mut count = 0;
    // SAFETY: what is answered lives as long as the answer.
    unsafe {
        let result = rd_kafka_event_DeleteTopics_result(answer.event());
        let topics = elements(rd_kafka_DeleteTopics_result_topics(result, &raw mut count), count);
        let outcomes = topics.iter().map(|topic| (text(rd_kafka_topic_result_name(*topic)), topic_outcome(*topic)));
        Ok(outcomes.collect())
    }
}

/// What became of a topic.
///
/// # Safety
/// It is alive.
unsafe fn topic_outcome(topic: *const rd_kafka_topic_result_t) -> Result<(), Failure> {
    // SAFETY: as demanded.
    unsafe { outcome(rd_kafka_topic_result_error(topic), text(rd_kafka_topic_result_error_string(topic))) }
}

/// These topics, each by its name, or why it is not shown. Does not make a broker create them.
pub(crate) async fn describe_topics(
    client: &Library,
    timeout: Duration,
    topics: &[&str],
) -> Result<BTreeMap<String, Result<TopicDescription, Failure>>, Failure> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names = topics.iter().map(|topic| c_text(topic)).collect::<Result<Vec<_>, _>>()?;
    let pending = call(client, Api::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout, |call| {
        let mut names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: everything is alive, and copied by the call; what is made here is destroyed here.
        unsafe {
            let collection = rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            rd_kafka_DescribeTopics(call.client, collection, call.options, call.queue);
            rd_kafka_TopicCollection_destroy(collection);
        }
    });
    let answer = pending.await.checked()?;
    let mut count = 0;
    // SAFETY: what is answered lives as long as the answer.
    unsafe {
        let result = rd_kafka_event_DescribeTopics_result(answer.event());
        let topics = elements(rd_kafka_DescribeTopics_result_topics(result, &raw mut count), count);
        Ok(topics.iter().map(|topic| (text(rd_kafka_TopicDescription_name(*topic)), described(*topic))).collect())
    }
}

/// Copies what is known of a topic.
///
/// # Safety
/// It is alive.
unsafe fn described(topic: *const rd_kafka_TopicDescription_t) -> Result<TopicDescription, Failure> {
    let (mut partitions, mut replicas) = (0, 0);
    let (mut replication, mut leaderless) = (u32::MAX, Vec::new());
    // SAFETY: as demanded; an array has as many elements as is said.
    let id = unsafe {
        outcome_of(rd_kafka_TopicDescription_error(topic))?;
        let id = rd_kafka_TopicDescription_topic_id(topic).as_ref();
        let id = id.map_or(0, |id| rd_kafka_Uuid_most_significant_bits(id).cast_unsigned());
        for partition in elements(rd_kafka_TopicDescription_partitions(topic, &raw mut partitions), partitions) {
            let leader = rd_kafka_TopicPartitionInfo_leader(*partition);
            if leader.is_null() || rd_kafka_Node_id(leader) < 0 {
                leaderless.push(rd_kafka_TopicPartitionInfo_partition(*partition));
            }
            rd_kafka_TopicPartitionInfo_replicas(*partition, &raw mut replicas);
            replication = replication.min(u32::try_from(replicas).unwrap_or(u32::MAX));
        }
        id
    };
    Ok(TopicDescription { id, partitions: u32::try_from(partitions).unwrap_or(u32::MAX), replication, leaderless })
}
