//! The cluster as a whole.

use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_AclOperation_t as Operation, rd_kafka_AdminOptions_set_include_authorized_operations,
    rd_kafka_DescribeCluster, rd_kafka_DescribeCluster_result_authorized_operations,
    rd_kafka_DescribeCluster_result_nodes, rd_kafka_Node_id, rd_kafka_admin_op_t as Api, rd_kafka_error_destroy,
    rd_kafka_event_DescribeCluster_result,
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
        let may_create = (!allowed.is_null()).then(|| {
            std::slice::from_raw_parts(allowed, rights).contains(&(Operation::RD_KAFKA_ACL_OPERATION_CREATE as u32))
        });
        Ok(ClusterDescription { nodes: nodes.iter().map(|node| rd_kafka_Node_id(*node)).collect(), may_create })
    }
}
