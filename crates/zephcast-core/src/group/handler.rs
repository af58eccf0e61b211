//! What a handler can answer, and how it is called.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::{Delivery, Retry, Verdict};

/// Why a handler did not finish a message, and what is to become of it.
///
/// Every `std::error::Error` converts into a failed attempt, so `?` does what one expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerError {
    verdict: Verdict,
}

impl HandlerError {
    /// A failed attempt: tried again by the retry policy, dead-lettered after the last one.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail(reason.into()) }
    }

    /// Never going to work: to the dead letters at once.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Reject(reason.into()) }
    }

    /// Not now: the group gets it again after this long, and the attempt does not count.
    #[must_use]
    pub fn later(delay: std::time::Duration) -> Self {
        Self { verdict: Verdict::NackAfter(delay) }
    }
}

impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::retry(reason)
    }
}

/// Handles one delivery to its end. With `in_place` a failed attempt is repeated here, so that later messages of the
/// same key wait for it.
pub(super) async fn handle<H, E>(handler: &H, delivery: Delivery, in_place: Option<Retry>)
where
    H: AsyncFn(&Delivery) -> Result<(), E>,
    E: Into<HandlerError>,
{
    loop {
        // A handler that panicked is not called for this message again before its next attempt; what it shares with
        // others is its own to keep sound.
        let result = AssertUnwindSafe(async { handler(&delivery).await }).catch_unwind().await;
        let verdict = match result {
            Ok(Ok(())) => Verdict::Ack,
            Ok(Err(error)) => error.into().verdict,
            Err(panic) => Verdict::Fail(format!("the handler panicked: {}", panic_text(&*panic))),
        };
        match (&verdict, in_place) {
            (Verdict::Fail(_), Some(retry)) if delivery.attempt() < retry.attempts() && !delivery.is_lost() => {
                let delay = retry.delay(delivery.attempt());
                delivery.try_again_here();
                // Boxed, as it is rare and large, and the future of every message would be as large.
                if Box::pin(tokio::time::timeout(delay, delivery.lost())).await.is_ok() {
                    // Another member has it: the handler is not called for it again.
                    return;
                }
            }
            _ => {
                if let Err(error) = delivery.settle(verdict) {
                    tracing::debug!(%error, "a handled message was no longer ours");
                }
                return;
            }
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
