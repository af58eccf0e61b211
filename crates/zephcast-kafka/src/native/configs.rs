//! Settings of topics and of brokers.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_ConfigEntry_name, rd_kafka_ConfigEntry_value, rd_kafka_ConfigResource_configs,
    rd_kafka_ConfigResource_destroy, rd_kafka_ConfigResource_error, rd_kafka_ConfigResource_error_string,
    rd_kafka_ConfigResource_new, rd_kafka_ConfigResource_t, rd_kafka_DescribeConfigs,
    rd_kafka_DescribeConfigs_result_resources, rd_kafka_ResourceType_t as Type, rd_kafka_admin_op_t as Api,
    rd_kafka_event_DescribeConfigs_result,
};

use super::Library;
use super::answer::{c_text, elements, outcome, text};
use super::pending::call;
use crate::error::Failure;

/// What has settings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource<'a> {
    Topic(&'a str),
    /// By its number.
    Broker(i32),
}

/// The settings of a topic or a broker by their names, also those that were never set. A secret one is empty.
pub(crate) async fn describe_configs(
    client: &Library,
    timeout: Duration,
    resource: Resource<'_>,
) -> Result<BTreeMap<String, String>, Failure> {
    let (kind, name) = match resource {
        Resource::Topic(name) => (Type::RD_KAFKA_RESOURCE_TOPIC, c_text(name)?),
        Resource::Broker(number) => (Type::RD_KAFKA_RESOURCE_BROKER, c_text(&number.to_string())?),
    };
    let pending = call(client, Api::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout, |call| {
        // SAFETY: everything is alive, and copied by the call; what is made here is destroyed here.
        unsafe {
            let mut request = rd_kafka_ConfigResource_new(kind, name.as_ptr());
            rd_kafka_DescribeConfigs(call.client, &raw mut request, 1, call.options, call.queue);
            rd_kafka_ConfigResource_destroy(request);
        }
    });
    let answer = pending.await.checked()?;
    let mut count = 0;
    let mut settings = BTreeMap::new();
    // SAFETY: what is answered lives as long as the answer.
    unsafe {
        let result = rd_kafka_event_DescribeConfigs_result(answer.event());
        for resource in elements(rd_kafka_DescribeConfigs_result_resources(result, &raw mut count), count) {
            read(*resource, &mut settings)?;
        }
    }
    Ok(settings)
}

/// Copies settings.
///
/// # Safety
/// The resource is alive.
unsafe fn read(
    resource: *const rd_kafka_ConfigResource_t,
    settings: &mut BTreeMap<String, String>,
) -> Result<(), Failure> {
    let mut count = 0;
    // SAFETY: as demanded; an array has as many elements as is said.
    unsafe {
        let why = text(rd_kafka_ConfigResource_error_string(resource));
        outcome(rd_kafka_ConfigResource_error(resource), why)?;
        for entry in elements(rd_kafka_ConfigResource_configs(resource, &raw mut count), count) {
            settings.insert(text(rd_kafka_ConfigEntry_name(*entry)), text(rd_kafka_ConfigEntry_value(*entry)));
        }
    }
    Ok(())
}
