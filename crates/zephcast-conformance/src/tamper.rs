//! A driver around a driver, whose calls can be changed: for faults on purpose, and for drivers that are wrong on purpose.
//!
//! [`Tampered`] hands every call to a [`Tamper`], which by default passes it on. Whoever overrides one method gets a
//! driver that is wrong in that one way.

mod admin;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::{
    Admin, Credit, Driver, Fetched, Intake, Membership, Renewal, Returned, Settlement, Settler, Sink, Subscription,
    Undurable,
};
use zephcast_core::{
    Capabilities, Error, GroupName, GroupStatus, Message, Position, PublishError, Result, Start, StreamName, Token,
    UnitId,
};

use self::admin::TamperedAdmin;

/// Changes the calls of a driver.
#[async_trait]
pub trait Tamper: Send + Sync + 'static {
    /// A batch is published.
    ///
    /// # Errors
    /// As [`Sink::publish`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Sink::publish`].
    async fn publish(&self, sink: &dyn Sink, batch: &[Message]) -> Vec<Result<Option<Position>, PublishError>> {
        sink.publish(batch).await
    }

    /// A sink is opened.
    ///
    /// # Errors
    /// As [`Driver::open_sink`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Driver::open_sink`].
    async fn open_sink(&self, driver: &dyn Driver, stream: &StreamName, create: bool) -> Result<Arc<dyn Sink>> {
        driver.open_sink(stream, create).await
    }

    /// A member joins.
    ///
    /// # Errors
    /// As [`Driver::join`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Driver::join`].
    async fn join(&self, driver: &dyn Driver, subscription: Subscription) -> Result<Membership> {
        driver.join(subscription).await
    }

    /// What happens to the calls of a member that joined. By default they pass.
    fn member(&self, subscription: &Subscription) -> Arc<dyn TamperMember> {
        let _ = subscription;
        Arc::new(Untouched)
    }

    /// A group's status is asked for.
    ///
    /// # Errors
    /// As [`Driver::group_status`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Driver::group_status`].
    async fn group_status(&self, driver: &dyn Driver, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
        driver.group_status(stream, group).await
    }

    /// A group is moved.
    ///
    /// # Errors
    /// As [`Admin::seek_group`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Admin::seek_group`].
    async fn seek_group(&self, admin: &dyn Admin, stream: &StreamName, group: &GroupName, to: Start) -> Result<()> {
        admin.seek_group(stream, group, to).await
    }

    /// A group is deleted.
    ///
    /// # Errors
    /// As [`Admin::delete_group`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Admin::delete_group`].
    async fn delete_group(&self, admin: &dyn Admin, stream: &StreamName, group: &GroupName) -> Result<()> {
        admin.delete_group(stream, group).await
    }

    /// The driver is closed.
    ///
    /// # Errors
    /// As [`Driver::close`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Driver::close`].
    async fn close(&self, driver: &dyn Driver, deadline: Duration) -> Result<()> {
        driver.close(deadline).await
    }
}

/// Changes the calls of one member.
#[async_trait]
pub trait TamperMember: Send + Sync + 'static {
    /// The member fetches. The settler is the same member's.
    ///
    /// # Errors
    /// As [`Intake::fetch`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Intake::fetch`].
    async fn fetch(&self, intake: &mut dyn Intake, settler: &dyn Settler, credit: Credit) -> Result<Fetched> {
        let _ = settler;
        intake.fetch(credit).await
    }

    /// The member settles.
    ///
    /// # Errors
    /// As [`Settler::settle`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Settler::settle`].
    async fn settle(&self, settler: &dyn Settler, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        settler.settle(settlement).await
    }

    /// The member waits until what it settled is durable.
    ///
    /// # Errors
    /// As [`Settler::commit`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Settler::commit`].
    async fn commit(&self, settler: &dyn Settler) -> Result<Undurable> {
        settler.commit().await
    }

    /// The member renews.
    ///
    /// # Errors
    /// As [`Settler::renew`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Settler::renew`].
    async fn renew(&self, settler: &dyn Settler, renewal: Renewal) -> Result<Vec<(UnitId, Token)>> {
        settler.renew(renewal).await
    }

    /// The member leaves.
    ///
    /// # Errors
    /// As [`Settler::leave`], or what the tamperer wants.
    ///
    /// # Cancel safety
    /// As [`Settler::leave`].
    async fn leave(&self, settler: &dyn Settler, returned: Vec<Returned>, deadline: Duration) -> Result<()> {
        settler.leave(returned, deadline).await
    }
}

struct Untouched;

impl TamperMember for Untouched {}

/// A driver whose calls go through a [`Tamper`].
pub struct Tampered {
    inner: Arc<dyn Driver>,
    tamper: Arc<dyn Tamper>,
    admin: TamperedAdmin,
}

impl Tampered {
    /// Puts `tamper` around `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, tamper: Arc<dyn Tamper>) -> Self {
        let admin = TamperedAdmin { driver: inner.clone(), tamper: tamper.clone() };
        Self { inner, tamper, admin }
    }
}

impl std::fmt::Debug for Tampered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tampered")
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Driver for Tampered {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn open_sink(&self, stream: &StreamName, create: bool) -> Result<Arc<dyn Sink>> {
        let inner = self.tamper.open_sink(&*self.inner, stream, create).await?;
        Ok(Arc::new(TamperedSink { inner, tamper: self.tamper.clone() }))
    }

    async fn join(&self, subscription: Subscription) -> Result<Membership> {
        let tamper = self.tamper.member(&subscription);
        let inner = self.tamper.join(&*self.inner, subscription).await?;
        let settler = inner.settler;
        let intake = TamperedIntake { inner: inner.intake, settler: settler.clone(), tamper: tamper.clone() };
        Ok(Membership { intake: Box::new(intake), settler: Arc::new(TamperedSettler { inner: settler, tamper }) })
    }

    async fn group_status(&self, stream: &StreamName, group: &GroupName) -> Result<GroupStatus> {
        self.tamper.group_status(&*self.inner, stream, group).await
    }

    fn admin(&self) -> &dyn Admin {
        &self.admin
    }

    async fn close(&self, deadline: Duration) -> Result<()> {
        self.tamper.close(&*self.inner, deadline).await
    }
}

struct TamperedSink {
    inner: Arc<dyn Sink>,
    tamper: Arc<dyn Tamper>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Sink for TamperedSink {
    async fn publish(&self, batch: &[Message]) -> Vec<Result<Option<Position>, PublishError>> {
        self.tamper.publish(&*self.inner, batch).await
    }

    fn trouble(&self) -> Option<Error> {
        self.inner.trouble()
    }

    fn window(&self) -> u32 {
        self.inner.window()
    }
}

struct TamperedIntake {
    inner: Box<dyn Intake>,
    settler: Arc<dyn Settler>,
    tamper: Arc<dyn TamperMember>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Intake for TamperedIntake {
    async fn fetch(&mut self, credit: Credit) -> Result<Fetched> {
        self.tamper.fetch(&mut *self.inner, &*self.settler, credit).await
    }
}

struct TamperedSettler {
    inner: Arc<dyn Settler>,
    tamper: Arc<dyn TamperMember>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Settler for TamperedSettler {
    async fn settle(&self, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        self.tamper.settle(&*self.inner, settlement).await
    }

    async fn commit(&self) -> Result<Undurable> {
        self.tamper.commit(&*self.inner).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<Vec<(UnitId, Token)>> {
        self.tamper.renew(&*self.inner, renewal).await
    }

    fn interrupt(&self) {
        self.inner.interrupt();
    }

    async fn leave(&self, returned: Vec<Returned>, deadline: Duration) -> Result<()> {
        self.tamper.leave(&*self.inner, returned, deadline).await
    }
}
