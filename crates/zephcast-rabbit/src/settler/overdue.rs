//! Deliveries that the server would soon close the channel for, with everything else on it.

use std::time::Duration;

use zephcast_core::{Event, Result, Token, UnitId};

use crate::error::invalid;
use crate::hints::Hint;
use crate::member::{Member, SUSPECTS, UNIT};
use crate::session::Session;
use crate::suspect;

const OPERATION: &str = "renew";

/// Gives back what has been unsettled for almost as long as the server allows: what is held no longer, as is all that was
/// held by a session that is over. It comes again, from a member that lives.
pub(super) async fn give_back(member: &Member) -> Result<Vec<(UnitId, Token)>> {
    let Some(session) = member.session() else { return Ok(Vec::new()) };
    if session.is_over() {
        // Whoever fetches nothing for now, as beside a suspect, would not hear of it for long.
        return Ok(everything(&session));
    }
    let Some(timeout) = member.brokers.control.config().consumer_timeout else { return Ok(Vec::new()) };
    // Also what nobody fetched.
    session.look();
    let limit = allowed(timeout, member.subscription.lease);
    // Suspects last, since the server may take no copies for now.
    let mut lost = give_messages_back(member, &session, limit).await;
    tell(member, lost.len(), timeout);
    let suspects = take_suspects_back(&session, limit);
    let given_back = give_suspects_back(member, &session, &suspects).await;
    tell(member, given_back, timeout);
    lost.extend(suspects.into_iter().map(|tag| (SUSPECTS, session.token(tag))));
    Ok(lost)
}

/// Of the group's queue: what was held until now.
async fn give_messages_back(member: &Member, session: &Session, limit: Duration) -> Vec<(UnitId, Token)> {
    // In the order of delivery, so that the first that is young enough ends it.
    let overdue: Vec<(u64, Option<Hint>)> = {
        let held = session.held();
        let old = held.iter().take_while(|(_, held)| held.since.elapsed() >= limit);
        old.map(|(tag, held)| (tag, held.hint().map(Hint::innocent))).collect()
    };
    let hints: Vec<Hint> = overdue.iter().filter_map(|(_, hint)| *hint).collect();
    member.write_hints(OPERATION, &hints).await;
    let mut given_back = Vec::with_capacity(overdue.len());
    for (tag, _) in overdue {
        session.inbox.remove(tag);
        if session.take_back(tag).await {
            given_back.push((UNIT, session.token(tag)));
        }
    }
    given_back
}

fn tell(member: &Member, count: usize, limit: Duration) {
    if count == 0 {
        return;
    }
    tracing::warn!(
        count, ?limit, stream = %member.names.stream, group = %member.names.group,
        "deliveries are given back: they were unsettled for almost as long as the server's consumer_timeout"
    );
    member.tell(Event::GivenBack { count, limit });
}

/// What a session held that is over.
fn everything(session: &Session) -> Vec<(UnitId, Token)> {
    let messages = session.held().iter().map(|(tag, _)| (UNIT, session.token(tag))).collect::<Vec<_>>();
    let suspects = session.suspects.held();
    messages.into_iter().chain(suspects.keys().map(|tag| (SUSPECTS, session.token(*tag)))).collect()
}

/// Takes suspects from their user, also those of which an earlier copy was not stored; not those whose settlement is under way.
fn take_suspects_back(session: &Session, limit: Duration) -> Vec<u64> {
    let mut overdue: Vec<u64> = {
        let held = session.suspects.held();
        held.iter().filter(|(_, suspect)| suspect.since.elapsed() >= limit).map(|(tag, _)| *tag).collect()
    };
    overdue.retain(|tag| !session.is_leaving(*tag) && session.suspects.take_back(*tag));
    overdue
}

/// Sends suspects back as they were fetched, since their member lives: how many. The others are in hand until the next renewal.
async fn give_suspects_back(member: &Member, session: &Session, taken_back: &[u64]) -> usize {
    let mut given_back = 0;
    for tag in taken_back {
        match suspect::give_back(member, session, *tag, None).await {
            Ok(()) => given_back += 1,
            Err(error) => tracing::warn!(%error, "an overdue suspect could not be given back"),
        }
    }
    given_back
}

/// But for a tenth, and for the time until the next renewal, so that the last one comes before the server.
fn allowed(timeout: Duration, lease: Duration) -> Duration {
    timeout.saturating_sub(timeout / 10 + lease / 3)
}

/// Whether leases are renewed often enough for that.
///
/// # Errors
/// `InvalidInput` when they are not.
pub(crate) fn check(operation: &'static str, timeout: Option<Duration>, lease: Duration) -> Result<()> {
    match timeout.filter(|timeout| lease > *timeout) {
        None => Ok(()),
        Some(timeout) => {
            let text = format!(
                "a lease of {lease:?} is longer than the {timeout:?} for which the server lets a delivery be held: make it \
                 shorter, or raise the server's `consumer_timeout` and the setting `consumer-timeout`"
            );
            Err(invalid(operation, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_goes_back_before_the_server_closes_its_channel() {
        let seconds = Duration::from_secs;
        for (timeout, lease, limit) in [(1_800, 30, 1_610), (30, 30, 17), (60, 6, 52)] {
            let (timeout, lease) = (seconds(timeout), seconds(lease));
            assert_eq!(allowed(timeout, lease), seconds(limit));
            // At the next renewal.
            assert!(allowed(timeout, lease) + lease / 3 < timeout);
            assert!(check("join", Some(timeout), lease).is_ok());
        }
        assert!(check("join", Some(seconds(30)), seconds(31)).is_err());
        assert!(check("join", None, seconds(31)).is_ok());
    }
}
