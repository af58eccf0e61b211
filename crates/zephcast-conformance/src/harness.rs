//! What a driver's test supplies.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::Driver;
use zephcast_core::{Error, Result};

/// A broker to be put to the proof, and what can be done to it.
///
/// Only [`connect`](Self::connect) is required. Most faults (a crashed member, a frozen one, a lost reply, refused dead
/// letters) are made at the seam, between the engine and the driver, and need nothing of the harness. What only the
/// harness can do is a power; each has a default that says "cannot", and the cases that need it are then skipped by name.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// A new connection to the same broker, as another process would have.
    ///
    /// # Errors
    /// What the driver's connecting fails with; the case fails with it.
    ///
    /// # Cancel safety
    /// Dropped only when a case is out of patience; a connection half made must end by itself.
    async fn connect(&self) -> Result<Arc<dyn Driver>>;

    /// A harness of a broker of its own, for one case. By default all cases share this harness's broker, each with a
    /// stream of its own; a broker that costs nothing can be made anew, so that its faults concern one case only.
    fn own_broker(&self) -> Option<Arc<dyn Harness>> {
        None
    }

    /// What this harness can do beyond that. Nothing by default.
    fn powers(&self) -> Powers {
        Powers::default()
    }

    /// How patient the cases are. The defaults suit a broker that notices a dead member by a lease of a second.
    fn timing(&self) -> Timing {
        Timing::default()
    }

    /// A connection over a line of its own, which can be cut and mended without touching any other connection. Called
    /// only with [`Powers::line`].
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// As [`connect`](Self::connect).
    async fn connect_over_line(&self) -> Result<(Arc<dyn Driver>, Arc<dyn Line>)> {
        let connection = self.connect().await?;
        let line: Arc<dyn Line> = Arc::new(Uncuttable);
        Ok((connection, line))
    }

    /// The error of connecting with wrong credentials of which `secret` is the secret part; `None` when the broker let
    /// it in. Called only with [`Powers::wrong_credentials`].
    ///
    /// # Cancel safety
    /// As [`connect`](Self::connect).
    async fn connect_with_secret(&self, secret: &str) -> Option<Error> {
        let _ = secret;
        None
    }
}

/// What a harness can do beyond connecting. Nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Powers {
    /// Connect over a [`Line`] that can be cut.
    pub line: bool,
    /// Connect with wrong credentials.
    pub wrong_credentials: bool,
}

impl Powers {
    /// States whether the harness implements [`Harness::connect_over_line`].
    #[must_use]
    pub fn line(mut self, can: bool) -> Self {
        self.line = can;
        self
    }

    /// States whether the harness implements [`Harness::connect_with_secret`].
    #[must_use]
    pub fn wrong_credentials(mut self, can: bool) -> Self {
        self.wrong_credentials = can;
        self
    }
}

/// The way between one client and the broker.
#[async_trait]
pub trait Line: Send + Sync {
    /// Ends what is open and refuses what is new, until it is mended.
    ///
    /// # Cancel safety
    /// Dropped only when a case is out of patience: it may be cut or not.
    async fn cut(&self);

    /// Lets new connections through again.
    ///
    /// # Cancel safety
    /// Dropped only when a case is out of patience: it may be mended or not.
    async fn mend(&self);
}

/// Stands in for the line of a harness without that power; no case reaches it.
struct Uncuttable;

#[async_trait]
impl Line for Uncuttable {
    async fn cut(&self) {}

    async fn mend(&self) {}
}

/// How long things take with this broker.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Timing {
    /// The lease that members ask for; after it, a dead member's messages are taken over. Default 1 s.
    pub lease: Duration,
    /// How long a case waits for something that must happen. Default 20 s: generous, since it is only waited for in
    /// full when the promise is broken.
    pub patience: Duration,
}

impl Timing {
    /// Sets the lease. Patience must be many times longer.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets the patience.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self { lease: Duration::from_secs(1), patience: Duration::from_secs(20) }
    }
}
