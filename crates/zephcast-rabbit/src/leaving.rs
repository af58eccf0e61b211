//! Leaving in good order: what is given back is said to be innocent, and a suspect that nobody tried stays one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zephcast_core::driver::Returned;
use zephcast_core::{ErrorKind, Result};

use crate::error::{error, late};
use crate::hints::Hint;
use crate::member::{Member, SUSPECTS};
use crate::session::Session;
use crate::suspect;

const OPERATION: &str = "leave";

/// Gives everything back and closes the member's connection.
pub(crate) async fn leave(member: &Arc<Member>, returned: &[Returned], deadline: Duration) -> Result<()> {
    let until = zephcast_core::driver::after(Instant::now(), deadline);
    let left = || until.saturating_duration_since(Instant::now());
    let session = member.session();
    if let Some(session) = &session {
        count_attempts(session, returned);
    }
    let Some(session) = session.as_ref().filter(|session| !session.is_over()) else {
        // What it held is with the group since its connection was lost, settled by its user or not.
        let lost = session.as_ref().is_some_and(|session| session.is_unsynced() || session.holds_any());
        if let Some(session) = &session {
            member.lose(session);
        }
        // The other connections may be fine.
        member.tell_outlived(OPERATION, left()).await;
        close(member, left()).await;
        return match lost {
            true => Err(error(ErrorKind::LeaseLost, OPERATION, "the connection was lost with what the member held")),
            false => Ok(()),
        };
    };
    // What goes back is judged by that, and has to be back in time.
    member.tell_outlived(OPERATION, left() / 2).await;
    let gave_back = tokio::time::timeout_at(until, give_everything_back(member, session, returned)).await;
    gave_back.map_err(|_| late(OPERATION))??;
    // What came meanwhile went back as well.
    member.lose(session);
    member.tell_outlived(OPERATION, left() / 2).await;
    close(member, left()).await;
    Ok(())
}

/// What a handler had in hand when the time was over counts as tried, whichever word of it is the last.
fn count_attempts(session: &Session, returned: &[Returned]) {
    for back in returned {
        let Some(tag) = session.tag_of(back.token) else { continue };
        if back.unit == SUSPECTS {
            session.suspects.fail(tag, back.attempts);
        } else if let Some(held) = session.held().get_mut(tag) {
            held.attempts = back.attempts;
        }
    }
}

/// Nothing depends on it any more.
async fn close(member: &Member, deadline: Duration) {
    if let Err(error) = member.connection.close(deadline).await {
        tracing::debug!(%error, "the member's connection did not close in good order");
    }
}

/// Says that messages may be on their way that this member will not see.
pub(crate) async fn pardon(member: &Member, session: &Session) -> Result<()> {
    match session.pardon() {
        Some(pardon) => member.write_pardon(OPERATION, pardon).await,
        None => Ok(()),
    }
}

/// Gives everything back and closes the session's channels: what is settled is, and what comes again is innocent.
pub(crate) async fn give_everything_back(member: &Member, session: &Arc<Session>, returned: &[Returned]) -> Result<()> {
    // What is on its way is with others as soon as the channels close.
    let (synced, pardoned) = tokio::join!(session.sync(), pardon(member, session));
    synced.map_err(|failure| member.failed(session, OPERATION, failure))?;
    if let Err(error) = pardoned {
        tracing::debug!(%error, "what is on its way is not pardoned");
    }
    session.look();
    let (last, hints): (Option<u64>, Vec<Hint>) = {
        let held = session.held();
        let hints = held.iter().filter_map(|(_, held)| Some(held.hint()?.innocent()));
        (held.iter().last().map(|(tag, _)| tag), hints.collect())
    };
    member.write_hints(OPERATION, &hints).await;
    let suspects: Vec<u64> = session.suspects.held().keys().copied().collect();
    for tag in suspects {
        let named = returned.iter().find(|back| back.unit == SUSPECTS && session.tag_of(back.token) == Some(tag));
        suspect::give_back(member, session, tag, named.map(|named| named.attempts)).await?;
    }
    session.sync_messages().await.map_err(|failure| member.failed(session, OPERATION, failure))?;
    session.give_back_in_order().await.map_err(|failure| member.failed(session, OPERATION, failure))?;
    let timeout = member.connection.config().request_timeout;
    session.close(timeout).await.map_err(|failure| member.failed(session, OPERATION, failure))?;
    // Of what came meanwhile it is to be said yet.
    session.held().remove_up_to(last.unwrap_or(0));
    Ok(())
}

#[cfg(test)]
mod tests;
