//! The harness of the embedded broker, intact or broken on purpose.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_conformance::tamper::{Tamper, Tampered};
use zephcast_conformance::{Harness, Line, Powers, Timing};
use zephcast_core::Result;
use zephcast_core::driver::Driver;
use zephcast_memory::{Fault, MemoryBroker};

/// An embedded broker has no credentials, no limit on a payload, and no unit that two members share.
pub(crate) const SKIPS: [&str; 6] = [
    "D1 a message over the limit is refused at once",
    "D6 what a connection held comes again once it is cut, and its settlements are refused",
    "S1 in flight is bounded by count when something comes back beside what is new",
    "S1 in flight is bounded by count when a retry is due beside what is new",
    "R2 wrong credentials fail at once as such",
    "V4 a refused secret is in no error",
];

/// What is put around each connection.
pub(crate) type Break = fn() -> Arc<dyn Tamper>;

/// A new embedded broker for each case.
pub(crate) struct Embedded {
    broker: MemoryBroker,
    /// Shared by all connections of the broker, as a defect of the broker's driver would be.
    defect: Option<(Break, Arc<dyn Tamper>)>,
    timing: Timing,
}

impl Embedded {
    pub(crate) fn intact() -> Self {
        Self { broker: MemoryBroker::new(), defect: None, timing: Timing::default() }
    }

    /// With something around each connection that must not make a difference.
    pub(crate) fn with(tamper: Break) -> Self {
        Self { broker: MemoryBroker::new(), defect: Some((tamper, tamper())), timing: Timing::default() }
    }

    /// Broken in one way; not waited for as long, since something will not come.
    pub(crate) fn broken(defect: Break) -> Self {
        Self::with(defect).in_a_hurry()
    }

    /// Intact, and waited for no longer than for a broken one.
    pub(crate) fn hurried() -> Self {
        Self::intact().in_a_hurry()
    }

    fn in_a_hurry(self) -> Self {
        Self { timing: self.timing.patience(Duration::from_secs(6)), ..self }
    }
}

#[async_trait]
impl Harness for Embedded {
    async fn connect(&self) -> Result<Arc<dyn Driver>> {
        let driver: Arc<dyn Driver> = self.broker.driver();
        Ok(match &self.defect {
            Some((_, tamper)) => Arc::new(Tampered::new(driver, tamper.clone())),
            None => driver,
        })
    }

    fn own_broker(&self) -> Option<Arc<dyn Harness>> {
        let defect = self.defect.as_ref().map(|(make, _)| (*make, make()));
        Some(Arc::new(Self { broker: MemoryBroker::new(), defect, timing: self.timing }))
    }

    fn powers(&self) -> Powers {
        Powers::default().line(true)
    }

    fn timing(&self) -> Timing {
        self.timing
    }

    async fn connect_over_line(&self) -> Result<(Arc<dyn Driver>, Arc<dyn Line>)> {
        Ok((self.connect().await?, Arc::new(Cable(self.broker.clone()))))
    }
}

/// Cuts every connection of this case's broker.
struct Cable(MemoryBroker);

#[async_trait]
impl Line for Cable {
    async fn cut(&self) {
        self.0.faults().inject(Fault::cut());
    }

    async fn mend(&self) {
        self.0.faults().clear();
    }
}
