//! The administration of a driver around a driver.

use std::sync::Arc;

use async_trait::async_trait;
use zephcast_core::driver::{Admin, Browsed, Check, Cursor, DeadLetter, Driver, Redrive, StreamSpec};
use zephcast_core::{GroupName, Position, Result, Start, StreamName, StreamStatus};

use super::Tamper;

pub(super) struct TamperedAdmin {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) tamper: Arc<dyn Tamper>,
}

impl TamperedAdmin {
    fn inner(&self) -> &dyn Admin {
        self.driver.admin()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Admin for TamperedAdmin {
    async fn create_stream(&self, spec: &StreamSpec) -> Result<()> {
        self.inner().create_stream(spec).await
    }

    async fn delete_stream(&self, stream: &StreamName) -> Result<()> {
        self.inner().delete_stream(stream).await
    }

    async fn streams(&self) -> Result<Vec<StreamStatus>> {
        self.inner().streams().await
    }

    async fn stream(&self, stream: &StreamName) -> Result<StreamStatus> {
        self.inner().stream(stream).await
    }

    async fn create_group(&self, stream: &StreamName, group: &GroupName, start: Start) -> Result<()> {
        self.inner().create_group(stream, group, start).await
    }

    async fn seek_group(&self, stream: &StreamName, group: &GroupName, to: Start) -> Result<()> {
        self.tamper.seek_group(self.inner(), stream, group, to).await
    }

    async fn delete_group(&self, stream: &StreamName, group: &GroupName) -> Result<()> {
        self.tamper.delete_group(self.inner(), stream, group).await
    }

    async fn browse(&self, stream: &StreamName, from: &Cursor, limit: usize) -> Result<Browsed> {
        self.inner().browse(stream, from, limit).await
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        group: &GroupName,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        self.inner().dead_letters(stream, group, after, limit).await
    }

    async fn redrive(&self, stream: &StreamName, group: &GroupName, position: Position) -> Result<Redrive> {
        self.inner().redrive(stream, group, position).await
    }

    async fn redrive_some(
        &self,
        stream: &StreamName,
        group: &GroupName,
        positions: &[Position],
    ) -> Vec<Result<Redrive>> {
        self.inner().redrive_some(stream, group, positions).await
    }

    async fn purge_dead_letters(&self, stream: &StreamName, group: &GroupName) -> Result<u64> {
        self.inner().purge_dead_letters(stream, group).await
    }

    async fn trim(&self, stream: &StreamName) -> Result<u64> {
        self.inner().trim(stream).await
    }

    async fn check(&self) -> Result<Check> {
        self.inner().check().await
    }
}
