//! Streams, groups and dead letters.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use zephcast_core::driver::{Admin, Browsed, Check, Cursor, DeadLetter, Redrive, StreamSpec};
use zephcast_core::{Broker, ErrorKind, GroupName, Position, Result, Start, Starts, StreamName, StreamStatus};

use crate::RabbitConfig;
use crate::brokers::Brokers;
use crate::config::{Exchange, QueueType, Topology};
use crate::error::{error, invalid, missing};
use crate::member::UNIT;
use crate::names::{NAMES, Names, group_of, is_roll_call};
use crate::{check, dead_letters, removal, topology};

pub(crate) struct RabbitAdmin {
    brokers: Arc<Brokers>,
}

impl RabbitAdmin {
    pub(crate) fn new(brokers: Arc<Brokers>) -> Self {
        Self { brokers }
    }
}

#[async_trait]
impl Admin for RabbitAdmin {
    async fn create_stream(&self, spec: &StreamSpec) -> Result<()> {
        const OPERATION: &str = "create a stream";
        NAMES.check(&spec.stream)?;
        if spec.partitions.is_some_and(|partitions| partitions != 1) {
            return unsupported(OPERATION, "a group on RabbitMQ has one queue, so that a stream has one partition");
        }
        let control = &self.brokers.control;
        let config = control.config().with_settings(OPERATION, &spec.settings)?;
        if config.topology == Topology::Expect {
            return Err(invalid(
                OPERATION,
                "with `topology=expect` others make what there is, and nothing is made here",
            ));
        }
        let is_queue = config.exchange == Exchange::Default;
        if is_queue && config.queue_type != QueueType::Stream && spec.groups.is_empty() {
            let text = "without an exchange a stream is the queue of its group: name the group along with it";
            return Err(invalid(OPERATION, text));
        }
        let names_groups = is_queue || !spec.groups.is_empty();
        if let Some(key) = spec.settings.keys().find(|key| !names_groups && !RabbitConfig::is_of_exchange(key)) {
            let text = format!("`{key}` says how a group's queue is made: name the groups along with it");
            return Err(invalid(OPERATION, text));
        }
        let groups: Vec<Names> =
            spec.groups.iter().map(|group| Names::new(&config, &spec.stream, group)).collect::<Result<_>>()?;
        if config.exchange == Exchange::ConsistentHash && groups.len() > 1 {
            let text = "an exchange of this type shares messages among its queues, so that none of several groups gets them all";
            return Err(invalid(OPERATION, text));
        }
        match config.topology {
            Topology::Check => topology::stream(control, OPERATION, &config, &spec.stream, false).await.map(drop)?,
            _ => {
                for names in &groups {
                    topology::gets_something(control, OPERATION, &config, names).await?;
                }
                topology::declare(control, OPERATION, &config, &spec.stream).await?;
            }
        }
        for names in &groups {
            let management = self.brokers.management.as_ref();
            // Whoever asks for something in particular is not given something else.
            if !config.bindings.is_empty() {
                topology::is_bound_alike(management, OPERATION, &config, names).await?;
            }
            topology::group(control, management, OPERATION, &config, names, false, None).await?;
            if !spec.settings.is_empty() {
                topology::is_alike(control, OPERATION, &config, names).await?;
            }
        }
        Ok(())
    }

    async fn delete_stream(&self, stream: &StreamName) -> Result<()> {
        NAMES.check(stream)?;
        removal::delete_stream(&self.brokers, stream).await
    }

    async fn streams(&self) -> Result<Vec<StreamStatus>> {
        const OPERATION: &str = "list streams";
        let management = self.brokers.management(OPERATION, "which exchanges there are")?;
        let mut streams = Vec::new();
        for exchange in management.exchanges(OPERATION).await? {
            let is_own = exchange.name.is_empty() || exchange.name.starts_with("amq.") || is_roll_call(&exchange.name);
            let Some(name) = StreamName::new(&exchange.name).ok().filter(|_| !is_own) else { continue };
            streams.push(status(name.clone(), groups(&self.brokers, OPERATION, &name).await?));
        }
        streams.sort_by(|one, other| one.stream.cmp(&other.stream));
        Ok(streams)
    }

    async fn stream(&self, stream: &StreamName) -> Result<StreamStatus> {
        const OPERATION: &str = "show a stream";
        NAMES.check(stream)?;
        let control = &self.brokers.control;
        let is_there = match control.config().exchange {
            Exchange::Default => {
                let queue = control.config().queue_behind(stream);
                topology::queue(control, OPERATION, queue).await?.is_some()
            }
            _ => topology::has_exchange(control, OPERATION, stream.as_str()).await?,
        };
        if !is_there {
            return Err(missing(OPERATION, stream.as_str()));
        }
        let groups = groups(&self.brokers, OPERATION, stream).await;
        let told = groups.inspect_err(|error| tracing::debug!(%error, "the management API said nothing"));
        Ok(status(stream.clone(), told.ok().flatten()))
    }

    async fn create_group(&self, stream: &StreamName, group: &GroupName, start: Start) -> Result<()> {
        const OPERATION: &str = "create a group";
        Starts::default().check(start)?;
        let control = &self.brokers.control;
        let names = Names::new(control.config(), stream, group)?;
        let management = self.brokers.management.as_ref();
        topology::group(control, management, OPERATION, control.config(), &names, false, None).await.map(drop)
    }

    async fn seek_group(&self, _stream: &StreamName, _group: &GroupName, _to: Start) -> Result<()> {
        unsupported("move a group", "a queue of RabbitMQ keeps nothing that was settled, so that there is no way back")
    }

    async fn delete_group(&self, stream: &StreamName, group: &GroupName) -> Result<()> {
        let names = Names::new(self.brokers.control.config(), stream, group)?;
        removal::delete_group(&self.brokers, &names).await
    }

    async fn browse(&self, _stream: &StreamName, _from: &Cursor, _limit: usize) -> Result<Browsed> {
        unsupported("browse", "RabbitMQ keeps messages for groups only; join one to see them")
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        group: &GroupName,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        let names = Names::new(self.brokers.control.config(), stream, group)?;
        dead_letters::list(&self.brokers, &names, after, limit).await
    }

    async fn redrive(&self, stream: &StreamName, group: &GroupName, position: Position) -> Result<Redrive> {
        let mut answers = self.redrive_some(stream, group, &[position]).await;
        answers.pop().unwrap_or(Ok(Redrive::Gone))
    }

    async fn redrive_some(
        &self,
        stream: &StreamName,
        group: &GroupName,
        positions: &[Position],
    ) -> Vec<Result<Redrive>> {
        match Names::new(self.brokers.control.config(), stream, group) {
            Ok(names) => dead_letters::redrive(&self.brokers, &names, positions).await,
            Err(error) => positions.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn purge_dead_letters(&self, stream: &StreamName, group: &GroupName) -> Result<u64> {
        let names = Names::new(self.brokers.control.config(), stream, group)?;
        dead_letters::purge(&self.brokers, &names).await
    }

    async fn trim(&self, _stream: &StreamName) -> Result<u64> {
        unsupported("trim", "a queue of RabbitMQ keeps nothing that was settled, so that there is nothing to trim")
    }

    async fn check(&self) -> Result<Check> {
        check::run(&self.brokers).await
    }
}

fn unsupported<T>(operation: &'static str, why: &str) -> Result<T> {
    Err(error(ErrorKind::Unsupported, operation, why))
}

/// The groups of a stream: those whose queues are bound to its exchange. Nothing says whose a queue is that is named by the
/// settings, or by the stream itself.
pub(crate) async fn groups(
    brokers: &Brokers,
    operation: &'static str,
    stream: &StreamName,
) -> Result<Option<BTreeSet<GroupName>>> {
    let config = brokers.control.config();
    if config.queue.is_some() || config.exchange == Exchange::Default {
        return Ok(None);
    }
    let management = brokers.management(operation, "which queues are bound to an exchange")?;
    let bindings = management.bindings(operation, stream.as_str()).await?;
    Ok(Some(bindings.iter().filter_map(|binding| group_of(stream, &binding.queue)).collect()))
}

fn status(stream: StreamName, groups: Option<BTreeSet<GroupName>>) -> StreamStatus {
    // Messages lie in the queues of groups, each with copies of its own.
    StreamStatus {
        stream,
        broker: Broker::RabbitMq,
        depth: None,
        units: vec![UNIT],
        groups: groups.map(|groups| groups.into_iter().collect()),
    }
}

#[cfg(test)]
mod tests;
