//! Messages that come before their time: no queue delays for longer than its class.

use std::collections::BTreeSet;
use std::time::Duration;

use zephcast_core::{Error, ErrorKind, Result};

use super::{OPERATION, RabbitIntake};
use crate::arrival::Arrival;
use crate::clock::now_ms;
use crate::member::UNIT;
use crate::names::Delay;
use crate::properties;
use crate::session::{CopyId, Purpose, Session};

impl RabbitIntake {
    /// Sends what came early on its way once more. While the server takes no messages it waits here.
    pub(super) async fn delay_again(&mut self, session: &Session) -> Result<()> {
        let now = now_ms();
        if !session.inbox.has_early(now) || self.blockage.is_there() {
            return Ok(());
        }
        let member = self.member.clone();
        let most = member.brokers.mover.most_properties(OPERATION).await?;
        let came = session.take_early(now);
        let (mut early, mut copies, mut queues) = (Vec::with_capacity(came.len()), Vec::new(), BTreeSet::new());
        for arrival in came {
            let left = Duration::from_millis(arrival.notes.due_ms.unwrap_or(now).saturating_sub(now));
            let original = session.held().get(arrival.tag).and_then(|held| held.original.clone());
            let notes = arrival.notes.clone().copied();
            match properties::encode_copy(&arrival.message, original.as_deref(), &notes, most) {
                Ok(mut copy) => {
                    copy.delay(&member.names, Delay::of(left), left);
                    queues.insert(copy.routing_key.as_str().to_owned());
                    copies.push((CopyId { unit: UNIT, tag: arrival.tag, purpose: Purpose::Early }, copy));
                    early.push(arrival);
                }
                Err(error) => hand_out_early(session, arrival, &error),
            }
        }
        if early.is_empty() {
            return Ok(());
        }
        if let Err(error) = member.ensure(OPERATION, &queues).await {
            early.into_iter().for_each(|arrival| session.inbox.put(arrival));
            return self.unless_blocked(Err(error));
        }
        let stored = session.store(&member.brokers.mover, OPERATION, copies).await;
        let mut failure = None;
        for (arrival, stored) in early.into_iter().zip(stored) {
            match stored {
                Ok(()) => {
                    session.ack(arrival.tag).await;
                }
                Err(error) if error.kind() == ErrorKind::TooLarge => hand_out_early(session, arrival, &error),
                Err(error) => {
                    session.inbox.put(arrival);
                    failure = Some(error);
                }
            }
        }
        self.unless_blocked(failure.map_or(Ok(()), Err))
    }
}

/// It cannot be moved, as it is too large, and must not be kept from its group.
fn hand_out_early(session: &Session, mut arrival: Arrival, error: &Error) {
    tracing::warn!(%error, "a message is handed out before its time");
    arrival.notes.due_ms = None;
    session.inbox.put(arrival);
}
