//! Faults between the engine and the driver: they work with every driver and need nothing of the harness.

mod calls;

use std::future::Future;

use tokio::sync::watch;
use zephcast_core::{Error, Result};

use self::calls::{away, dead};

/// The switches of one process: what happens between its engine and its driver.
#[derive(Clone, Debug)]
pub struct Seam {
    state: watch::Sender<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    reach: Reach,
    publishes_held: bool,
    publish_replies_to_lose: usize,
    settle_replies_to_lose: usize,
    refuse_dead_letters: bool,
    dead_letters_refused: usize,
    unheard: bool,
    fetch_failure: Option<Error>,
}

/// Whether calls reach the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reach {
    #[default]
    Open,
    /// Calls wait, as in a process that was stopped.
    Frozen,
    /// Calls fail, as with a broker that is away.
    Away,
    /// Nothing reaches the driver any more, as from a process that was killed.
    Dead,
}

impl Seam {
    /// Everything works.
    pub(crate) fn new() -> Self {
        Self { state: watch::Sender::new(State::default()) }
    }

    /// Kills the process as far as the broker can tell: no settlement, no renewal and no leave reaches it any more. The
    /// engine is told that its broker is closed, so that its tasks end.
    pub fn crash(&self) {
        self.change(|state| state.reach = Reach::Dead);
    }

    /// Stops the process as far as the broker can tell: calls wait until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        self.change(|state| state.reach = Reach::Frozen);
    }

    /// Lets a stopped process go on.
    pub fn thaw(&self) {
        self.change(|state| state.reach = Reach::Open);
    }

    /// Takes the broker away: every call fails with a retryable error until it is [`back`](Self::back).
    pub fn away(&self) {
        self.change(|state| state.reach = Reach::Away);
    }

    /// Brings the broker back.
    pub fn back(&self) {
        self.change(|state| state.reach = Reach::Open);
    }

    /// Publishes wait, as with a broker that does not keep up, until they are let go with `false`.
    pub fn hold_publishes(&self, hold: bool) {
        self.change(|state| state.publishes_held = hold);
    }

    /// The next `calls` publishes are stored and their replies lost.
    pub fn lose_publish_replies(&self, calls: usize) {
        self.change(|state| state.publish_replies_to_lose = calls);
    }

    /// The next `calls` settlements are made and their replies lost.
    pub fn lose_settle_replies(&self, calls: usize) {
        self.change(|state| state.settle_replies_to_lose = calls);
    }

    /// Settlements with a dead letter among them fail with a retryable error and nothing of them is done.
    pub fn refuse_dead_letters(&self, refuse: bool) {
        self.change(|state| state.refuse_dead_letters = refuse);
    }

    /// The broker hears nothing of this process but its settlements, and the process notices nothing: renewals are
    /// answered as if they had arrived, fetches bring nothing. So a lease ends while its member thinks that it lives.
    pub fn unheard(&self, unheard: bool) {
        self.change(|state| state.unheard = unheard);
    }

    /// The next fetch fails with this error.
    pub fn fail_fetch(&self, error: Error) {
        self.change(|state| state.fetch_failure = Some(error));
    }

    /// Waits until every lost settle reply that was asked for has been lost.
    ///
    /// # Cancel safety
    /// Cancel safe: it only looks.
    pub async fn settle_replies_lost(&self) {
        self.until(|state| state.settle_replies_to_lose == 0).await;
    }

    /// Waits until so many settlements with a dead letter have been refused.
    ///
    /// # Cancel safety
    /// Cancel safe: it only looks.
    pub async fn dead_letters_refused(&self, calls: usize) {
        self.until(|state| state.dead_letters_refused >= calls).await;
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    /// Changes the state if there is something to do, and says whether there was.
    fn take(&self, change: impl FnOnce(&mut State) -> bool) -> bool {
        self.state.send_if_modified(change)
    }

    async fn until(&self, condition: impl FnMut(&State) -> bool) {
        // The sender is in `self`, so it cannot be gone.
        let _ = self.state.subscribe().wait_for(condition).await;
    }

    /// Holds a fetch back while the process is unheard.
    async fn heard(&self) {
        if self.state.borrow().unheard {
            self.until(|state| !state.unheard || matches!(state.reach, Reach::Away | Reach::Dead)).await;
        }
    }

    /// Waits while frozen, then says whether the call may pass.
    async fn pass(&self, operation: &'static str) -> Result<()> {
        // Looked at without waiting first: batches are stored in the order of the calls' first poll.
        if self.state.borrow().reach == Reach::Frozen {
            self.until(|state| state.reach != Reach::Frozen).await;
        }
        let reach = self.state.borrow().reach;
        match reach {
            Reach::Open | Reach::Frozen => Ok(()),
            Reach::Away => Err(away(operation)),
            Reach::Dead => Err(dead(operation)),
        }
    }

    /// Makes a call whose reply is lost when the process dies meanwhile, and late when it is stopped.
    async fn call<T>(&self, operation: &'static str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.pass(operation).await?;
        let answer = tokio::select! {
            answer = call => answer,
            () = self.until(|state| state.reach == Reach::Dead) => return Err(dead(operation)),
        };
        self.pass(operation).await?;
        answer
    }
}
