//! Clients that are wrong in how their members reach the broker.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;
use zephcast_conformance::tamper::{Tamper, TamperMember};
use zephcast_core::Result;
use zephcast_core::driver::{Credit, Fetched, Intake, Settler, Subscription};

/// One read at a time: whoever waits for news lets nobody else read.
#[derive(Default)]
pub(crate) struct Shared {
    connection: Arc<Mutex<()>>,
}

struct Member(Arc<Mutex<()>>);

impl Tamper for Shared {
    fn member(&self, _: &Subscription) -> Arc<dyn TamperMember> {
        Arc::new(Member(self.connection.clone()))
    }
}

#[async_trait]
impl TamperMember for Member {
    async fn fetch(&self, intake: &mut dyn Intake, _: &dyn Settler, credit: Credit) -> Result<Fetched> {
        let _turn = self.0.lock().await;
        intake.fetch(credit).await
    }
}
