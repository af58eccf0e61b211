//! Streams, groups and dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use zephcast_core::driver::{Admin, Browsed, Check, Cursor, DeadLetter, Redrive, StreamSpec};
use zephcast_core::{ErrorKind, GroupName, Position, Result, Start, StreamName, StreamStatus, Warning};

use crate::MemoryConfig;
use crate::browse::browse;
use crate::driver::MemoryDriver;
use crate::error::{error, invalid, no_group};
use crate::faults::Operation;
use crate::group::Group;
use crate::stream::Stream;
use crate::url::read_retention_bytes;

impl MemoryDriver {
    async fn administer<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.client.call(Operation::Admin, None, work).await
    }

    fn create(&self, spec: &StreamSpec) -> Result<()> {
        let core = &self.client.core;
        let (mut partitions, mut retention) = (spec.partitions, None);
        for (key, value) in &spec.settings {
            match key.as_str() {
                "retention-bytes" => retention = Some(read_retention_bytes("create stream", value)?),
                other => {
                    let text = format!("unknown setting `{other}`; known: retention-bytes");
                    return Err(invalid("create stream", text));
                }
            }
        }
        if partitions.is_some_and(|count| !(1..=MemoryConfig::MAX_PARTITIONS).contains(&count)) {
            let text = format!("a stream has 1 to {} partitions", MemoryConfig::MAX_PARTITIONS);
            return Err(invalid("create stream", text));
        }
        let stream = core.stream_or_create(&spec.stream, || {
            Stream::new(
                spec.stream.clone(),
                partitions.take().unwrap_or(core.config.partitions),
                retention.take().unwrap_or(core.config.retention_bytes),
            )
        });
        // Only what was asked for and is not the stream's own doing can differ.
        differs(&spec.stream, "partitions", partitions.map(u64::from), u64::from(stream.partitions()))?;
        differs(&spec.stream, "retention-bytes", retention, stream.retention_bytes())?;
        spec.groups.iter().try_for_each(|group| stream.group_or_create(group, Start::Earliest).map(drop))
    }

    fn group(
        &self,
        operation: &'static str,
        stream: &StreamName,
        group: &GroupName,
    ) -> Result<(Arc<Stream>, Arc<Group>)> {
        let stream = self.client.core.stream(operation, stream)?;
        let group = stream.group(group).ok_or_else(|| no_group(operation, stream.name(), group))?;
        Ok((stream, group))
    }
}

/// Refuses what was asked for and is otherwise.
fn differs(stream: &StreamName, what: &str, asked: Option<u64>, is: u64) -> Result<()> {
    match asked {
        Some(asked) if asked != is => {
            let text = format!("the stream {stream:?} exists with {what} {is}, not {asked}");
            Err(error(ErrorKind::Conflict, "create stream", text))
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl Admin for MemoryDriver {
    async fn create_stream(&self, spec: &StreamSpec) -> Result<()> {
        self.administer(|| self.create(spec)).await
    }

    async fn delete_stream(&self, stream: &StreamName) -> Result<()> {
        self.administer(|| self.client.core.delete_stream(stream)).await
    }

    async fn streams(&self) -> Result<Vec<StreamStatus>> {
        self.administer(|| Ok(self.client.core.streams().iter().map(|stream| stream.status()).collect())).await
    }

    async fn stream(&self, stream: &StreamName) -> Result<StreamStatus> {
        self.administer(|| Ok(self.client.core.stream("stream status", stream)?.status())).await
    }

    async fn create_group(&self, stream: &StreamName, group: &GroupName, start: Start) -> Result<()> {
        let create = || self.client.core.stream("create group", stream)?.group_or_create(group, start).map(drop);
        self.administer(create).await
    }

    async fn seek_group(&self, stream: &StreamName, group: &GroupName, to: Start) -> Result<()> {
        const OPERATION: &str = "move a group";
        self.administer(|| {
            let (stream, group) = self.group(OPERATION, stream, group)?;
            group.open(&stream).seek(OPERATION, to)
        })
        .await
    }

    async fn delete_group(&self, stream: &StreamName, group: &GroupName) -> Result<()> {
        const OPERATION: &str = "delete a group";
        self.administer(|| self.client.core.stream(OPERATION, stream)?.delete_group(OPERATION, group)).await
    }

    async fn browse(&self, stream: &StreamName, from: &Cursor, limit: usize) -> Result<Browsed> {
        self.administer(|| browse(&*self.client.core.stream("browse", stream)?, from, limit)).await
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        group: &GroupName,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        self.administer(|| {
            let (stream, group) = self.group("list dead letters", stream, group)?;
            Ok(group.open(&stream).dead_letters(after, limit))
        })
        .await
    }

    async fn redrive(&self, stream: &StreamName, group: &GroupName, position: Position) -> Result<Redrive> {
        self.administer(|| {
            let (stream, group) = self.group("redrive", stream, group)?;
            Ok(group.open(&stream).redrive(position))
        })
        .await
    }

    async fn purge_dead_letters(&self, stream: &StreamName, group: &GroupName) -> Result<u64> {
        self.administer(|| {
            let (stream, group) = self.group("purge dead letters", stream, group)?;
            Ok(group.open(&stream).purge_dead_letters())
        })
        .await
    }

    async fn trim(&self, stream: &StreamName) -> Result<u64> {
        self.administer(|| Ok(self.client.core.stream("trim", stream)?.trim())).await
    }

    async fn check(&self) -> Result<Check> {
        let warning = Warning::new(
            "not_durable",
            "messages live in this process and end with it",
            "use a broker with storage where they must survive",
        );
        self.administer(|| Ok(Check { version: env!("CARGO_PKG_VERSION").into(), warnings: vec![warning] })).await
    }
}
