//! A look at a group.
//!
//! The broker says at once how many messages are ready; what its members hold they say themselves. What neither says, such
//! as what other programs hold, the management API says some seconds late, if there is one. Whoever named one is told when
//! it is of no use, also while nothing is missing.

use std::time::Duration;

use futures_util::future::try_join_all;
use zephcast_core::driver::has_members;
use zephcast_core::{
    Broker, Error, ErrorKind, GroupName, GroupStatus, MemberName, MemberState, MemberStatus, Result, StreamName,
    UnitStatus, Warning,
};

use crate::brokers::Brokers;
use crate::error::{error, missing, missing_group};
use crate::management::{ConsumerFigures, Management, NOT_THERE};
use crate::member::UNIT;
use crate::names::Names;
use crate::native;
use crate::roll_call::{Report, Roll};
use crate::session::MEMBER;
use crate::{topology, warnings};

const OPERATION: &str = "look at a group";

/// How long a management API is waited for that is not needed.
const GLANCE: Duration = Duration::from_secs(2);

pub(crate) async fn group(brokers: &Brokers, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
    let names = Names::new(brokers.control.config(), stream, group)?;
    let Roll { ready, reports, is_complete, .. } = Roll::call(brokers, OPERATION, &names).await?;
    let mut others = match is_complete {
        true => Others::none(&reports),
        false => Others::look(brokers, &names, &reports).await,
    };
    let waiting: Vec<String> = names.retries().collect();
    let (delayed, suspects, dead, has_stream, ()) = tokio::try_join!(
        try_join_all(waiting.iter().map(|queue| ready_in(brokers, queue))),
        ready_in(brokers, &names.suspects),
        ready_in(brokers, &names.dead),
        // A look without this is better than none.
        async { Ok(topology::has_stream(&brokers.control, OPERATION, stream).await.unwrap_or(true)) },
        async {
            if is_complete {
                others.glance(brokers, &names).await;
            }
            Ok(())
        },
    )?;
    let delayed = delayed.into_iter().fold(others.leaving, u64::saturating_add);
    let in_flight = others.in_flight;
    let lag = in_flight.map(|in_flight| in_flight.saturating_add(ready + suspects + delayed));
    let mut status = GroupStatus::new(stream.clone(), group.clone(), Broker::RabbitMq);
    status.lag = lag;
    status.in_flight = in_flight;
    status.delayed = Some(delayed);
    status.dead_letters = (!native::is_on(brokers)).then_some(dead);
    status.oldest_pending = reports.iter().filter_map(|report| report.oldest_ms).max().map(Duration::from_millis);
    status.members = reports.iter().map(member).chain(others.consumers.iter().map(stranger)).flatten().collect();
    status.units = vec![UnitStatus { unit: UNIT, committed: None, end: None, lag, owner: None }];
    let missing = (!has_stream).then(|| warnings::no_stream(stream));
    status.warnings = warnings::blocked(brokers).into_iter().chain(missing).chain(others.warnings).collect();
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
    let roll = Roll::call(brokers, operation, of).await?;
    if roll.consumers == 0 {
        return Ok(None);
    }
    let unnamed = roll.unnamed();
    let others = match &brokers.management {
        Some(management) if unnamed > 0 => strangers(management, of, &roll.reports).await,
        _ => Ok(Vec::new()),
    };
    let mut names: Vec<String> = roll.reports.into_iter().map(|report| report.name).collect();
    let others = others.inspect_err(|error| tracing::debug!(%error, "the management API said nothing"));
    let others = others.unwrap_or_default().into_iter().map(|other| other.tag);
    let unnamed = usize::try_from(unnamed).unwrap_or(usize::MAX);
    names.extend(others.chain(std::iter::repeat_with(|| "another program".into())).take(unnamed));
    Ok(Some(has_members(operation, &of.group, &names).on(Broker::RabbitMq)))
}

/// How many messages are ready in a queue that may not be there.
async fn ready_in(brokers: &Brokers, queue: &str) -> Result<u64> {
    Ok(topology::queue(&brokers.control, OPERATION, queue).await?.map_or(0, |(ready, _)| ready))
}

/// What the management API says beside the members.
#[derive(Default)]
struct Others {
    /// Who consumes and did not answer.
    consumers: Vec<ConsumerFigures>,
    /// Delivered and not settled, to whomever.
    in_flight: Option<u64>,
    /// Whose delay is over, and which the broker could not bring back yet.
    leaving: u64,
    /// What is wrong at the server, or with the management API itself.
    warnings: Vec<Warning>,
}

impl Others {
    /// All members answered, and there is nobody else.
    fn none(reports: &[Report]) -> Self {
        let in_flight = Some(reports.iter().fold(0, |sum: u64, report| sum.saturating_add(report.in_flight)));
        Self { in_flight, ..Self::default() }
    }

    /// Somebody did not answer.
    async fn look(brokers: &Brokers, names: &Names, reports: &[Report]) -> Self {
        let mut others = Self::default();
        match &brokers.management {
            None => others.warnings.push(warnings::no_management_url()),
            Some(management) => {
                let asked = others.ask(management, names, reports).await;
                others.note(asked);
            }
        }
        others
    }

    /// Nothing is missing; whoever named a management API wants it to be asked all the same.
    async fn glance(&mut self, brokers: &Brokers, names: &Names) {
        let is_named = !brokers.control.config().management.is_empty();
        if let Some(management) = brokers.management.as_ref().filter(|_| is_named) {
            let asked = tokio::time::timeout(GLANCE, self.ask_little(management, names)).await;
            self.note(asked.unwrap_or_else(|_| Err(late(management))));
        }
    }

    async fn ask(&mut self, management: &Management, names: &Names, reports: &[Report]) -> Result<()> {
        let queue = management.queue(OPERATION, &names.queue).await?;
        let queue = queue.ok_or_else(|| unknown(management, names))?;
        self.in_flight = queue.unacked;
        self.warnings.extend(warnings::flow(&queue));
        self.consumers = strangers(management, names, reports).await?;
        self.ask_always(management, names).await
    }

    /// Three requests.
    async fn ask_little(&mut self, management: &Management, names: &Names) -> Result<()> {
        let queue = management.gathered(OPERATION, &names.queue).await?;
        self.warnings.extend(warnings::flow(&queue.ok_or_else(|| unknown(management, names))?));
        self.ask_always(management, names).await
    }

    async fn ask_always(&mut self, management: &Management, names: &Names) -> Result<()> {
        self.warnings.extend(warnings::alarms(OPERATION, management).await);
        self.leaving = management.leaving(OPERATION, &names.retries_prefix()).await?;
        Ok(())
    }

    fn note(&mut self, asked: Result<()>) {
        self.warnings.extend(asked.err().as_ref().map(warnings::management_failed));
    }
}

/// Who consumes and did not answer.
async fn strangers(management: &Management, names: &Names, reports: &[Report]) -> Result<Vec<ConsumerFigures>> {
    let answered = |consumer: &ConsumerFigures| {
        let member = consumer.arguments.get(MEMBER).and_then(|name| name.as_str());
        reports.iter().any(|report| Some(report.name.as_str()) == member)
    };
    let consumers = management.consumers(OPERATION, &names.queue).await?;
    Ok(consumers.into_iter().filter(|consumer| !answered(consumer)).collect())
}

/// The broker has the queue, so that this is the management of something else.
fn unknown(management: &Management, names: &Names) -> Error {
    let text = format!("the management API at {management} knows no queue {:?}, which there is", names.queue);
    let advice = "name the one of this broker with `management=http://HOST:15672`";
    error(ErrorKind::NotFound, OPERATION, text).advise(advice)
}

fn late(management: &Management) -> Error {
    let text = format!("no answer from the management API at {management} in {GLANCE:?}");
    error(ErrorKind::Timeout, OPERATION, text).advise(NOT_THERE)
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
        prefetch: report.prefetch,
        settled: report.settled,
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
        // To the server, none at a time are as many as there are.
        prefetch: consumer.prefetch.filter(|limit| *limit > 0).and_then(|limit| u32::try_from(limit).ok()),
        settled: None,
        idle: consumer.idle,
        oldest_delivery: None,
        lease: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_tells_its_prefetch_unless_it_is_of_an_earlier_version() {
        let mut told = json!({
            "name": "m", "consumers": 1, "in_flight": 2, "oldest_ms": null, "working_ms": null, "lease_ms": 30_000,
        });
        let prefetch =
            |told: &serde_json::Value| member(&serde_json::from_value(told.clone()).unwrap()).unwrap().prefetch;
        assert_eq!(prefetch(&told), None);
        told["prefetch"] = json!(16);
        assert_eq!(prefetch(&told), Some(16));
    }

    #[test]
    fn a_stranger_without_a_limit_has_no_prefetch() {
        let consumer = |prefetch| ConsumerFigures {
            tag: "worker".into(),
            prefetch,
            arguments: serde_json::Map::new(),
            unacked: None,
            idle: None,
        };
        let prefetch = |told| stranger(&consumer(told)).unwrap().prefetch;
        assert_eq!([None, Some(0), Some(7)].map(prefetch), [None, None, Some(7)]);
    }
}
