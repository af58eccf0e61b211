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
            bound = self.unless_needed(session, bind(&self.member, self.misses_stream)) => bound,
        };
        match bound {
            Some(Ok(has_stream)) => {
                if !has_stream && !self.misses_stream {
                    let Names { stream, group, .. } = &self.member.names;
                    tracing::warn!(%stream, %group, "the stream does not exist any more: nothing comes until it is created");
                }
                self.misses_stream = !has_stream;
            }
            Some(Err(error)) => tracing::debug!(%error, "the group could not be bound anew"),
            None => {}
        }
    }
}

/// Sees to it that the group is bound to its stream, which may have been missing; whether there is one.
async fn bind(member: &Member, was_missing: bool) -> Result<bool> {
    let Member { brokers, names, subscription, .. } = member;
    let control = &brokers.control;
    match topology::stream(control, OPERATION, control.config(), &names.stream, subscription.create).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        there => there?,
    }
    let is_particular = member.group().is_some_and(|group| group.is_particular);
    let management = brokers.management.as_ref();
    // What somebody had decided went with the former stream.
    let is_undone =
        was_missing || (is_particular && topology::is_unbound(management, OPERATION, control.config(), names).await);
    if is_undone || !is_particular {
        topology::bind(control, OPERATION, control.config(), names).await?;
        if let Some(group) = member.group().as_mut() {
            group.is_particular = false;
        }
    }
    Ok(true)
}
