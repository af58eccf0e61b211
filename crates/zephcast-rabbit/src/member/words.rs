//! What a member says of messages that may come again.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use lapin::BasicProperties;
use zephcast_core::Result;

use super::Member;
use crate::clock::now_ms;
use crate::error::late;
use crate::hints::{self, Hint};
use crate::intake::judging;
use crate::properties::Outgoing;
use crate::suspect::Suspect;
use crate::topology;

/// How long a member waits at most until its word about what it held is written.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Sessions that ended, and that this member outlived: what nobody has said of them.
#[derive(Default)]
pub(super) struct Outlived {
    /// Of what was held.
    pub(super) hints: Vec<Hint>,
    /// Suspects that were held, and nobody looked how many attempts count.
    pub(super) unjudged: Vec<Suspect>,
    /// Whether messages may have been on their way.
    pub(super) owes_pardon: bool,
}

impl Outlived {
    pub(super) fn add(&mut self, Self { hints, unjudged, owes_pardon }: Self) {
        self.hints.extend(hints);
        self.unjudged.extend(unjudged);
        self.owes_pardon |= owes_pardon;
    }

    /// Looks how many attempts count of the suspects of which that is not known.
    async fn judge(&mut self, member: &Member) -> Result<()> {
        if self.unjudged.is_empty() {
            return Ok(());
        }
        let mut known = judging::read(member).await?;
        self.hints.iter().for_each(|hint| known.add(*hint));
        for suspect in self.unjudged.drain(..) {
            let hint = suspect.hint_by(&known);
            hint.iter().for_each(|hint| known.add(*hint));
            self.hints.extend(hint);
        }
        Ok(())
    }
}

impl Member {
    pub(super) fn outlived(&self) -> MutexGuard<'_, Outlived> {
        self.outlived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says of what was held when a session ended, and of what was on its way, that its member lives. A server that takes
    /// nothing for now keeps nobody from what comes next.
    pub(crate) async fn tell_outlived(&self, operation: &'static str, patience: Duration) {
        let mut outlived = std::mem::take(&mut *self.outlived());
        let told = async {
            if outlived.owes_pardon {
                self.write_pardon(operation).await?;
                outlived.owes_pardon = false;
            }
            outlived.judge(self).await?;
            self.try_write_hints(operation, &outlived.hints).await
        };
        let told = tokio::time::timeout(patience.min(PATIENCE), told).await.unwrap_or_else(|_| Err(late(operation)));
        if let Err(error) = told {
            // They are tried one by one then, which is slower and no less safe, unless there is a later word.
            tracing::debug!(%error, "hints were not written");
            self.outlived().add(outlived);
        }
    }

    /// Says that messages may be on their way that this member will not see.
    pub(crate) async fn write_pardon(&self, operation: &'static str) -> Result<()> {
        let expiration = hints::PARDON_KEPT.as_millis().to_string().into();
        self.note(operation, hints::pardon(now_ms()), BasicProperties::default().with_expiration(expiration)).await
    }

    /// Writes hints down, if that can be done now: nothing waits for them. What goes without is tried one by one, which is
    /// slower and no less safe, and an attempt that is not written counts as long as this member lives.
    pub(crate) async fn write_hints(&self, operation: &'static str, hints: &[Hint]) {
        if let Err(error) = self.try_write_hints(operation, hints).await {
            tracing::debug!(%error, "hints were not written");
        }
    }

    async fn try_write_hints(&self, operation: &'static str, hints: &[Hint]) -> Result<()> {
        match hints {
            [] => Ok(()),
            hints => self.note(operation, hints::write(hints), BasicProperties::default()).await,
        }
    }

    async fn note(&self, operation: &'static str, text: String, properties: BasicProperties) -> Result<()> {
        let queue = &self.names.hints;
        let copy = Outgoing::to_queue(queue, properties, text);
        let store = async |copy| self.brokers.mover.store(operation, vec![copy]).await?.into_iter().collect();
        self.ensure_hints(operation).await?;
        let stored: Result<()> = store(copy.clone()).await;
        if stored.is_ok() || self.brokers.mover.knows(queue) {
            return stored;
        }
        // Gone since it was needed last, as the broker has it with one that nobody reads for long.
        self.ensure_hints(operation).await?;
        store(copy).await
    }

    async fn ensure_hints(&self, operation: &'static str) -> Result<()> {
        let queue = &self.names.hints;
        if !self.brokers.mover.knows(queue) {
            topology::hints(&self.brokers.control, operation, queue).await?;
            self.brokers.mover.learn(queue);
        }
        Ok(())
    }
}
