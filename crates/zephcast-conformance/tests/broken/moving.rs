//! Drivers that are wrong in how they move and delete groups.

use async_trait::async_trait;
use zephcast_conformance::tamper::Tamper;
use zephcast_core::driver::Admin;
use zephcast_core::{ErrorKind, GroupName, Result, Start, StreamName};

/// A group with living members is not moved, and nobody hears that it is not.
pub(crate) struct HidesRefusals;

#[async_trait]
impl Tamper for HidesRefusals {
    async fn seek_group(&self, admin: &dyn Admin, stream: &StreamName, group: &GroupName, to: Start) -> Result<()> {
        admin.seek_group(stream, group, to).await.or_else(|error| match error.kind() {
            ErrorKind::Conflict => Ok(()),
            _ => Err(error),
        })
    }
}

/// A group that does not exist does, once somebody wanted to move it.
pub(crate) struct MovesNobody;

#[async_trait]
impl Tamper for MovesNobody {
    async fn seek_group(&self, admin: &dyn Admin, stream: &StreamName, group: &GroupName, to: Start) -> Result<()> {
        let moved = admin.seek_group(stream, group, to).await;
        if moved.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            let _ = admin.create_group(stream, group, to).await;
        }
        moved
    }
}

/// Every move leads to the earliest message.
pub(crate) struct ForgetsWhereTo;

#[async_trait]
impl Tamper for ForgetsWhereTo {
    async fn seek_group(&self, admin: &dyn Admin, stream: &StreamName, group: &GroupName, _: Start) -> Result<()> {
        admin.seek_group(stream, group, Start::Earliest).await
    }
}

/// A deleted group is one that begins anew, with all that it had a copy of.
pub(crate) struct MovesInstead;

#[async_trait]
impl Tamper for MovesInstead {
    async fn delete_group(&self, admin: &dyn Admin, stream: &StreamName, group: &GroupName) -> Result<()> {
        admin.seek_group(stream, group, Start::Earliest).await
    }
}
