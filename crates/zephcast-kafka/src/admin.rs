//! Streams, groups and dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use zephcast_core::driver::{Admin, Browsed, Check, Cursor, DeadLetter, Redrive, StreamSpec};
use zephcast_core::{GroupName, Position, Result, Start, StreamName, StreamStatus};

use crate::cluster::Cluster;
use crate::producer::Producer;
use crate::topics::NAMES;
use crate::{browse, check, dead_letters, moving, removal, start, streams};

pub(crate) struct KafkaAdmin {
    cluster: Arc<Cluster>,
    /// For what is sent back to a group.
    producer: Arc<Producer>,
}

impl KafkaAdmin {
    pub(crate) fn new(cluster: Arc<Cluster>, producer: Arc<Producer>) -> Self {
        Self { cluster, producer }
    }
}

#[async_trait]
impl Admin for KafkaAdmin {
    async fn create_stream(&self, spec: &StreamSpec) -> Result<()> {
        NAMES.check(&spec.stream)?;
        Box::pin(streams::create(&self.cluster, spec)).await?;
        for group in &spec.groups {
            self.create_group(&spec.stream, group, Start::Earliest).await?;
        }
        Ok(())
    }

    async fn delete_stream(&self, stream: &StreamName) -> Result<()> {
        NAMES.check(stream)?;
        Box::pin(removal::delete(&self.cluster, stream)).await
    }

    async fn streams(&self) -> Result<Vec<StreamStatus>> {
        Box::pin(streams::list(&self.cluster)).await
    }

    async fn stream(&self, stream: &StreamName) -> Result<StreamStatus> {
        NAMES.check(stream)?;
        Box::pin(streams::show(&self.cluster, stream)).await
    }

    async fn create_group(&self, stream: &StreamName, group: &GroupName, start: Start) -> Result<()> {
        NAMES.check(stream)?;
        Box::pin(start::create(&self.cluster, stream, group, start)).await
    }

    async fn seek_group(&self, stream: &StreamName, group: &GroupName, to: Start) -> Result<()> {
        NAMES.check(stream)?;
        Box::pin(moving::seek(&self.cluster, stream, group, to)).await
    }

    async fn delete_group(&self, stream: &StreamName, group: &GroupName) -> Result<()> {
        NAMES.check(stream)?;
        Box::pin(moving::delete(&self.cluster, stream, group)).await
    }

    async fn browse(&self, stream: &StreamName, from: &Cursor, limit: usize) -> Result<Browsed> {
        NAMES.check(stream)?;
        Box::pin(browse::look(&self.cluster, stream, from, limit)).await
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        group: &GroupName,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        NAMES.check(stream)?;
        Box::pin(dead_letters::list(&self.cluster, stream, group, after, limit)).await
    }

    async fn redrive(&self, stream: &StreamName, group: &GroupName, position: Position) -> Result<Redrive> {
        NAMES.check(stream)?;
        Box::pin(dead_letters::redrive(&self.cluster, &self.producer, stream, group, position)).await
    }

    async fn purge_dead_letters(&self, stream: &StreamName, group: &GroupName) -> Result<u64> {
        NAMES.check(stream)?;
        Box::pin(dead_letters::purge(&self.cluster, stream, group)).await
    }

    async fn trim(&self, stream: &StreamName) -> Result<u64> {
        NAMES.check(stream)?;
        Box::pin(removal::trim(&self.cluster, stream)).await
    }

    async fn check(&self) -> Result<Check> {
        Box::pin(check::run(&self.cluster)).await
    }
}
