//! What a read brought beyond the room that there is: it is given back at once, so that memory does not hold it.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use zephcast_core::driver::Incoming;
use zephcast_core::{Headers, Message, Result, Token};

use super::{OPERATION, RedisIntake};
use crate::member::{RETURNED, lock, mark};
use crate::reply::{array, elements};
use crate::scripts::GIVE;
use crate::token::{id, is_retried};

/// So much is kept in any case: giving it back and taking it again would cost more.
const SLACK: usize = 1 << 20;

/// An entry that goes back, and which attempt it would have been.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surplus {
    token: Token,
    attempt: u32,
}

impl RedisIntake {
    /// Puts into the buffer what fits, at least one, and returns the rest.
    pub(super) fn keep_what_fits(&mut self, mut arrived: Vec<Incoming>) -> Vec<Surplus> {
        let sizes = || arrived.iter().map(|incoming| incoming.message.byte_len());
        self.size.learn(arrived.len(), sizes().max().unwrap_or(0));
        let room = self.room.max(SLACK);
        let mut bytes = 0;
        let fitting = sizes().take_while(|size| {
            bytes += size;
            bytes <= room
        });
        let fitting = fitting.count().max(1).min(arrived.len());
        let surplus: Vec<Surplus> = arrived
            .drain(fitting..)
            .map(|incoming| Surplus { token: incoming.token, attempt: incoming.attempt })
            .collect();
        for mut incoming in arrived {
            if !surplus.is_empty() {
                incoming.message = alone(&incoming.message);
            }
            self.buffer.push(incoming);
        }
        surplus
    }

    /// As [`keep_what_fits`](Self::keep_what_fits), and the rest goes back with the next fetch.
    pub(super) fn keep_or_give_back(&mut self, arrived: Vec<Incoming>) -> usize {
        let surplus = self.keep_what_fits(arrived);
        let count = surplus.len();
        self.surplus.extend(surplus);
        count
    }

    /// Gives the surplus back to the group. This member takes it again as soon as it has room, others may before.
    pub(super) async fn settle_surplus(&mut self) -> Result<()> {
        if self.surplus.is_empty() {
            return Ok(());
        }
        lock(&self.member.fence).doubt();
        let surplus = &self.surplus;
        let answer = self.member.run(OPERATION, &GIVE, &[], || {
            let mut arguments = vec![RETURNED.into(), "1".into()];
            for one in surplus {
                let attempts = i64::from(one.attempt.saturating_sub(1));
                arguments.extend([mark(is_retried(one.token)), id(one.token).into(), attempts.into()]);
            }
            arguments
        });
        let [_, gone] = elements(OPERATION, answer.await?)?;
        self.member.lost_from_stream(array(OPERATION, gone)?.len() as u64);
        tracing::debug!(count = self.surplus.len(), stream = %self.member.keys.stream,
            "messages became larger all of a sudden; those without room were given back");
        self.member.parked.returned.fetch_add(self.surplus.len() as u64, Ordering::Relaxed);
        self.surplus.clear();
        Ok(())
    }
}

impl Surplus {
    pub(super) fn token(self) -> Token {
        self.token
    }
}

/// A copy that does not keep the whole reply in memory, of which the message is a slice.
fn alone(message: &Message) -> Message {
    let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let mut alone = match message.has_payload() {
        true => Message::new(copy(message.payload())),
        false => Message::without_payload(),
    };
    if let Some(key) = message.key() {
        alone = alone.with_key(copy(key));
    }
    if let Some(id) = message.id() {
        alone = alone.with_id(zephcast_core::MessageId::new(copy(id.as_bytes())));
    }
    let mut headers = Headers::new();
    for (name, value) in message.headers().iter() {
        headers.append(copy(name), value.map(copy).unwrap_or_default());
    }
    if headers.is_empty() { alone } else { alone.with_headers(headers) }
}
