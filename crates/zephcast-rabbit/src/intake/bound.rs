//! That a group goes on to get what it is to get of its stream.

use std::time::Duration;

use tokio::time::Instant;
use zephcast_core::{ErrorKind, Result};

use super::{OPERATION, RabbitIntake};
use crate::member::Member;
use crate::names::Names;
use crate::session::Session;
use crate::topology;

/// How often a group is bound to its stream while nothing comes.
const BIND: Duration = Duration::from_secs(5);

impl RabbitIntake {
    /// Binds the group anew where nothing comes: somebody may have deleted the stream, whose publishers make it again and
    /// know nothing of its groups.
    pub(super) async fn keep_bound(&mut self, session: &Session) {
        if self.bound.elapsed() < BIND || !session.inbox.is_empty() {
            return;
        }
        self.bound = Instant::now();
        let bound = tokio::select! {
            biased;
            // Is not kept waiting.
            () = session.more() => return,
            bound = self.unless_needed(session, bind(&self.member, self.bound_last)) => match bound {
                Some(Ok(bound)) => bound,
                Some(Err(error)) => return tracing::debug!(%error, "the group could not be bound anew"),
                None => return,
            },
        };
        if !bound.has_stream && self.bound_last.has_stream {
            let Names { stream, group, .. } = &self.member.names;
            tracing::warn!(%stream, %group, "the stream does not exist any more: nothing comes until it is created");
        }
        self.bound_last = bound;
    }
}

/// What was found at a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    has_stream: bool,
    /// Whether the group was bound to it by anything, as far as anybody can say.
    is_bound: bool,
}

impl Default for Bound {
    fn default() -> Self {
        Self { has_stream: true, is_bound: true }
    }
}

/// Sees to it that the group is bound to its stream.
async fn bind(member: &Member, last: Bound) -> Result<Bound> {
    let Member { brokers, names, subscription, .. } = member;
    let control = &brokers.control;
    let is_new = match topology::stream(control, OPERATION, control.config(), &names.stream, subscription.create).await
    {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Bound { has_stream: false, is_bound: false }),
        made => made?,
    };
    if !is_new && member.group().is_some_and(|group| group.is_particular) {
        let is_bound = match topology::is_bound(brokers.management.as_ref(), OPERATION, control.config(), names).await {
            Some(is_bound) => is_bound,
            // It stays as it was seen last.
            None if last.has_stream => return Ok(last),
            None => false,
        };
        // Where it is not, somebody may be about to bind it by something else.
        if is_bound || last.is_bound {
            return Ok(Bound { has_stream: true, is_bound });
        }
    }
    // What somebody had decided went with the former stream, also where this ends half way.
    if let Some(group) = member.group().as_mut() {
        group.is_particular = false;
    }
    topology::bind(control, OPERATION, control.config(), names).await?;
    Ok(Bound::default())
}

#[cfg(test)]
mod tests;
