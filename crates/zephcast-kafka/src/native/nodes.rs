//! The cluster as a whole.

use std::ptr;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings::{
    rd_kafka_AclOperation_t as Operation, rd_kafka_AdminOptions_set_include_authorized_operations,
    rd_kafka_DescribeCluster, rd_kafka_DescribeCluster_result_authorized_operations,
    rd_kafka_DescribeCluster_result_nodes, rd_kafka_Node_id, rd_kafka_admin_op_t as Api, rd_kafka_error_destroy,
    rd_kafka_event_DescribeCluster_result, rd_kafka_metadata, rd_kafka_metadata_destroy,
};

use super::Library;
use super::answer::elements;
use super::pending::call;
use crate::error::Failure;

/// The cluster as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterDescription {
    /// The numbers of the nodes that are there.
    pub(crate) nodes: Vec<i32>,
    /// Whether the user may make topics of any name; none if the brokers do not say.
    pub(crate) may_create: Option<bool>,
    /// Whether the user may see every group; none if the brokers do not say.
    pub(crate) may_see_groups: Option<bool>,
}

/// The nodes that are there, and what the user may do to the cluster.
pub(crate) async fn describe_cluster(client: &Library, timeout: Duration) -> Result<ClusterDescription, Failure> {
    let pending = call(client, Api::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, timeout, |call| {
        // SAFETY: everything is alive, and copied by the call. Nobody else has the options yet.
        unsafe {
            let refused = rd_kafka_AdminOptions_set_include_authorized_operations(call.options.cast_mut(), 1);
            if !refused.is_null() {
                rd_kafka_error_destroy(refused);
            }
            rd_kafka_DescribeCluster(call.client, call.options, call.queue);
        }
    });
    let answer = pending.await.checked()?;
    let (mut count, mut rights) = (0, 0);
    // SAFETY: what is answered lives as long as the answer. Rights are read as numbers: a broker may know more of them
    // than the library.
    unsafe {
        let result = rd_kafka_event_DescribeCluster_result(answer.event());
        let nodes = elements(rd_kafka_DescribeCluster_result_nodes(result, &raw mut count), count);
        let allowed = rd_kafka_DescribeCluster_result_authorized_operations(result, &raw mut rights).cast::<u32>();
        let may = |operation: Operation| {
            (!allowed.is_null()).then(|| std::slice::from_raw_parts(allowed, rights).contains(&(operation as u32)))
        };
        Ok(ClusterDescription {
            nodes: nodes.iter().map(|node| rd_kafka_Node_id(*node)).collect(),
            may_create: may(Operation::RD_KAFKA_ACL_OPERATION_CREATE),
            may_see_groups: may(Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE),
        })
    }
}

/// Asks a broker who the others are, once one is connected. Blocks, at most for so long.
pub(crate) fn ask_for_brokers<C: ClientContext>(client: &rdkafka::client::Client<C>, most: Duration) {
    let mut answer = ptr::null();
    let most = i32::try_from(most.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives; no topic is named; the answer is ours to give back, and null when there is none.
    unsafe {
        rd_kafka_metadata(client.native_ptr(), 0, ptr::null_mut(), &raw mut answer, most);
        if !answer.is_null() {
            rd_kafka_metadata_destroy(answer);
        }
    }
}
