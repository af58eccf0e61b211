//! What a member says of messages that may come again.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use lapin::BasicProperties;
use zephcast_core::Result;

use super::Member;
use crate::clock::now_ms;
use crate::error::late;
use crate::hints::{self, Hint, Hints, Pardon};
use crate::intake::judging;
use crate::mover::is_gone;
use crate::properties::Outgoing;
use crate::suspect::Suspect;
use crate::topology;

/// How long a member waits at most until its word about what it held is written.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Sessions that ended, and that this member outlived: what nobody has said of them.
#[derive(Default)]
pub(super) struct Outlived {
    /// Of what was held, and of what may have been on its way.
    words: Hints,
    /// Suspects that were held, and nobody looked how many attempts count.
    unjudged: Vec<Suspect>,
}

impl Outlived {
    pub(super) fn new(hints: impl IntoIterator<Item = Hint>, unjudged: Vec<Suspect>, pardon: Option<Pardon>) -> Self {
        let mut words = Hints::default();
        hints.into_iter().for_each(|hint| words.add(hint));
        pardon.into_iter().for_each(|pardon| words.add_pardon(pardon));
        Self { words, unjudged }
    }

    pub(super) fn add(&mut self, Self { words, unjudged }: Self) {
        self.words.extend(words);
        self.unjudged.extend(unjudged);
    }

    /// Looks how many attempts count of the suspects of which that is not known.
    async fn judge(&mut self, member: &Member) -> Result<()> {
        let mut known = judging::read_of(member, &self.unjudged).await?;
        for suspect in self.unjudged.drain(..) {
            if let Some(hint) = suspect.hint_by(&known) {
                known.add(hint);
                self.words.add(hint);
            }
        }
        Ok(())
    }
}

/// What is being said. What is left of it when this is dropped is to be said yet.
struct Telling<'a> {
    member: &'a Member,
    outlived: Outlived,
}

impl Telling<'_> {
    /// What is known does not wait for what has to be looked up.
    async fn tell(&mut self, operation: &'static str) -> Result<()> {
        self.tell_words(operation).await?;
        if self.outlived.unjudged.is_empty() {
            return Ok(());
        }
        self.outlived.judge(self.member).await?;
        self.tell_words(operation).await
    }

    async fn tell_words(&mut self, operation: &'static str) -> Result<()> {
        let Self { member, outlived: Outlived { words, .. } } = self;
        member.try_write_pardons(operation, words.pardons()).await?;
        words.forget_pardons();
        member.try_write_hints(operation, words.known()).await?;
        words.forget_known();
        Ok(())
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.member.outlived().add(std::mem::take(&mut self.outlived));
    }
}

impl Member {
    pub(super) fn outlived(&self) -> MutexGuard<'_, Outlived> {
        self.outlived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says of what was held when a session ended, and of what was on its way, that its member lives. A server that takes
    /// nothing for now keeps nobody from what comes next: what could not be said is said the next time. Until then messages
    /// that come again are taken for suspects, and suspects for what somebody died of.
    ///
    /// # Cancel safety
    /// Cancel safe: what was not said is said the next time.
    pub(crate) async fn tell_outlived(&self, operation: &'static str, patience: Duration) {
        let telling = async {
            // What another one is saying is said when this returns.
            let _turn = self.telling.lock().await;
            let outlived = std::mem::take(&mut *self.outlived());
            Telling { member: self, outlived }.tell(operation).await
        };
        let told = tokio::time::timeout(patience.min(PATIENCE), telling).await;
        if let Err(error) = told.unwrap_or_else(|_| Err(late(operation))) {
            tracing::debug!(%error, "hints were not written");
        }
    }

    /// Says that messages may be on their way that this member will not see.
    pub(crate) async fn write_pardon(&self, operation: &'static str, pardon: Pardon) -> Result<()> {
        self.try_write_pardons(operation, &[pardon]).await
    }

    async fn try_write_pardons(
        &self,
        operation: &'static str,
        pardons: impl IntoIterator<Item = &Pardon>,
    ) -> Result<()> {
        let expiration = hints::PARDON_KEPT.as_millis().to_string().into();
        let properties = BasicProperties::default().with_expiration(expiration);
        self.note(operation, hints::write_pardons(pardons, now_ms()), properties).await
    }

    /// Writes hints down, if that can be done now: nothing waits for them. A message that goes without is tried apart, which is
    /// slower and no less safe. A suspect that comes again without one is taken for what its member died of, so that it may be
    /// given up an attempt too early; and an attempt that is not written counts as long as this member lives.
    pub(crate) async fn write_hints(&self, operation: &'static str, hints: &[Hint]) {
        if let Err(error) = self.try_write_hints(operation, hints).await {
            tracing::debug!(%error, "hints were not written");
        }
    }

    async fn try_write_hints(&self, operation: &'static str, hints: impl IntoIterator<Item = &Hint>) -> Result<()> {
        self.note(operation, hints::write(hints), BasicProperties::default()).await
    }

    /// Has the group know it, if it says anything.
    async fn note(&self, operation: &'static str, text: String, properties: BasicProperties) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let queue = &self.names.hints;
        let copy = Outgoing::to_queue(queue, properties, text);
        let store = async |copy| self.brokers.mover.store(operation, vec![copy]).await?.into_iter().collect();
        self.ensure_hints(operation).await?;
        let stored: Result<()> = store(copy.clone()).await;
        if !stored.as_ref().is_err_and(is_gone) {
            return stored;
        }
        // As the broker has it with one that nobody reads for long. Another member may have made it by now.
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
