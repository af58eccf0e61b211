//! A look at a group.
//!
//! The broker says at once how many messages are ready; what its members hold they say themselves. What neither says, such
//! as what other programs hold, the management API says some seconds late, if there is one.

use std::time::Duration;

use futures_util::future::try_join_all;
use zephcast_core::driver::has_members;
use zephcast_core::{
    Broker, Error, GroupName, GroupStatus, MemberName, MemberState, MemberStatus, Result, StreamName, UnitStatus,
};

use crate::brokers::Brokers;
use crate::error::{missing, missing_group};
use crate::management::ConsumerFigures;
use crate::member::UNIT;
use crate::names::Names;
use crate::native;
use crate::roll_call::{self, Report};
use crate::session::MEMBER;
use crate::topology;

const OPERATION: &str = "look at a group";

pub(crate) async fn group(brokers: &Brokers, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
    let names = Names::new(brokers.control.config(), stream, group)?;
    let (ready, consumers) = existing(brokers, OPERATION, &names).await?;
    let reports = roll_call::ask(&brokers.publishing, &names, consumers).await?;
    let others = match roll_call::consumers_of(&reports) < consumers {
        true => strangers(brokers, &names, &reports).await,
        false => Vec::new(),
    };
    let in_flight = match roll_call::consumers_of(&reports) < consumers {
        true => unacked(brokers, &names).await,
        false => Some(reports.iter().map(|report| report.in_flight).sum()),
    };
    let waiting: Vec<String> = names.retries().collect();
    let (delayed, suspects, dead) = tokio::try_join!(
        try_join_all(waiting.iter().map(|queue| ready_in(brokers, queue))),
        ready_in(brokers, &names.suspects),
        ready_in(brokers, &names.dead),
    )?;
    let delayed = delayed.into_iter().sum::<u64>();
    let lag = in_flight.map(|in_flight| ready + in_flight + suspects + delayed);
    let mut status = GroupStatus::new(stream.clone(), group.clone(), Broker::RabbitMq);
    status.lag = lag;
    status.in_flight = in_flight;
    status.delayed = Some(delayed);
    status.dead_letters = (!native::is_on(brokers)).then_some(dead);
    status.oldest_pending = reports.iter().filter_map(|report| report.oldest_ms).max().map(Duration::from_millis);
    status.members = reports.iter().map(member).chain(others.iter().map(stranger)).flatten().collect();
    status.units = vec![UnitStatus { unit: UNIT, committed: None, end: None, lag, owner: None }];
    Ok(status)
}

/// How many messages are ready in a group's queue, and how many consume it.
///
/// # Errors
/// `NotFound`, naming the stream or the group.
pub(crate) async fn existing(brokers: &Brokers, operation: &'static str, names: &Names) -> Result<(u64, u64)> {
    match topology::queue(&brokers.control, operation, &names.queue).await? {
        Some(figures) => Ok(figures),
        None if topology::has_exchange(&brokers.control, operation, names.stream.as_str()).await? => {
            Err(missing_group(operation, names.stream.as_str(), names.group.as_str()))
        }
        None => Err(missing(operation, names.stream.as_str())),
    }
}

/// The refusal to change a group that has members; `None` when it has none.
pub(crate) async fn lived_in(brokers: &Brokers, operation: &'static str, of: &Names) -> Result<Option<Error>> {
    let (_, consumers) = existing(brokers, operation, of).await?;
    if consumers == 0 {
        return Ok(None);
    }
    let reports = roll_call::ask(&brokers.publishing, of, consumers).await?;
    let others = match (reports.len() as u64) < consumers {
        true => strangers(brokers, of, &reports).await,
        false => Vec::new(),
    };
    let mut names: Vec<String> = reports.into_iter().map(|report| report.name).collect();
    names.extend(others.into_iter().map(|other| other.tag));
    names.truncate(usize::try_from(consumers).unwrap_or(usize::MAX));
    while (names.len() as u64) < consumers {
        names.push("another program".into());
    }
    Ok(Some(has_members(operation, &of.group, &names).on(Broker::RabbitMq)))
}

/// How many messages are ready in a queue that may not be there.
async fn ready_in(brokers: &Brokers, queue: &str) -> Result<u64> {
    Ok(topology::queue(&brokers.control, OPERATION, queue).await?.map_or(0, |(ready, _)| ready))
}

/// What is delivered and not settled, by the management API's count.
async fn unacked(brokers: &Brokers, names: &Names) -> Option<u64> {
    let queue = brokers.management.as_ref()?.queue(OPERATION, &names.queue).await;
    let told = queue.inspect_err(|error| tracing::debug!(%error, "the management API said nothing"));
    told.ok()??.unacked
}

/// Who consumes and did not answer.
async fn strangers(brokers: &Brokers, names: &Names, reports: &[Report]) -> Vec<ConsumerFigures> {
    let Some(management) = &brokers.management else { return Vec::new() };
    let consumers = management.consumers(OPERATION, &names.queue).await;
    let told = consumers.inspect_err(|error| tracing::debug!(%error, "the management API said nothing"));
    let answered = |consumer: &ConsumerFigures| {
        let member = consumer.arguments.get(MEMBER).and_then(|name| name.as_str());
        reports.iter().any(|report| Some(report.name.as_str()) == member)
    };
    told.unwrap_or_default().into_iter().filter(|consumer| !answered(consumer)).collect()
}

fn member(report: &Report) -> Option<MemberStatus> {
    let lease = Duration::from_millis(report.lease_ms);
    let oldest = report.working_ms.map(Duration::from_millis);
    let is_stuck = oldest.is_some_and(|oldest| oldest >= lease);
    Some(MemberStatus {
        name: MemberName::new(&report.name).ok()?,
        state: if is_stuck { MemberState::Stuck } else { MemberState::Active },
        units: vec![UNIT],
        in_flight: Some(report.in_flight),
        // It has just answered.
        idle: Some(Duration::ZERO),
        oldest_delivery: oldest,
        lease: Some(lease),
    })
}

/// Another program's consumer, by its tag, or a member that does not answer.
fn stranger(consumer: &ConsumerFigures) -> Option<MemberStatus> {
    let member = consumer.arguments.get(MEMBER).and_then(|name| name.as_str());
    let shown: String =
        member.unwrap_or(&consumer.tag).chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    Some(MemberStatus {
        name: MemberName::new(shown).ok()?,
        state: MemberState::Active,
        units: vec![UNIT],
        in_flight: consumer.unacked,
        idle: consumer.idle,
        oldest_delivery: None,
        lease: None,
    })
}
