//! What a read brought beyond the room that there is: it is given back at once, so that memory does not hold it and others
//! get it.

use bytes::Bytes;
use zephcast_core::driver::Incoming;
use zephcast_core::{Headers, Message, MessageId, Result};

use super::{OPERATION, RedisIntake};
use crate::member::{RETURNED, lock, mark};
use crate::reply::{array, elements};
use crate::scripts::GIVE;
use crate::token::{id, is_retried};

/// So much is kept in any case: giving it back and taking it again would cost more.
const SLACK: usize = 1 << 20;

/// What does not fit.
pub(super) struct Surplus {
    pub(super) messages: Vec<Incoming>,
    /// Whether it is because of the bytes of what came.
    pub(super) is_too_large: bool,
}

impl RedisIntake {
    /// Of what the buffer got since it was `before` long, takes out what does not fit: more messages than `most`, as when both
    /// streams had that many, and more bytes than there is room for, but for one message.
    pub(super) fn take_out_what_does_not_fit(&mut self, before: usize, most: usize) -> Surplus {
        let room = self.room.max(SLACK);
        let (mut bytes, mut largest, mut fitting) = (0, 0, 0);
        for size in self.buffer.sizes(before) {
            bytes += size;
            largest = size.max(largest);
            fitting += usize::from(bytes <= room);
        }
        let came = self.buffer.len() - before;
        self.size.learn(came, largest);
        let fitting = fitting.max(1).min(most);
        let messages = if fitting < came { self.buffer.split_off(before + fitting) } else { Vec::new() };
        let is_too_large = bytes > room && !messages.is_empty();
        if is_too_large {
            self.buffer.change(before, |incoming| incoming.message = alone(&incoming.message));
        }
        Surplus { messages, is_too_large }
    }

    /// As [`take_out_what_does_not_fit`](Self::take_out_what_does_not_fit), and it goes back with the next fetch.
    pub(super) fn give_back_what_does_not_fit(&mut self, before: usize, most: usize) -> Surplus {
        let surplus = self.take_out_what_does_not_fit(before, most);
        self.surplus.extend(surplus.messages.iter().map(|incoming| (incoming.token, incoming.attempt)));
        surplus
    }

    /// Gives the surplus back to the group. This member takes it again as soon as it has room, others may before.
    pub(super) async fn settle_surplus(&mut self) -> Result<()> {
        if self.surplus.is_empty() {
            return Ok(());
        }
        // It may take long, and what was read beside it must not look abandoned meanwhile.
        self.buffer.keep();
        lock(&self.member.fence).doubt();
        let surplus = &self.surplus;
        let answer = self.member.run(OPERATION, &GIVE, &[], || {
            let mut arguments = vec![RETURNED.into(), "1".into()];
            for (token, attempt) in surplus {
                let attempts = i64::from(attempt.saturating_sub(1));
                arguments.extend([mark(is_retried(*token)), id(*token).into(), attempts.into()]);
            }
            arguments
        });
        let [_, gone] = elements(OPERATION, answer.await?)?;
        self.member.lost_from_stream(array(OPERATION, gone)?.len() as u64);
        tracing::debug!(count = self.surplus.len(), stream = %self.member.keys.stream,
            "a read brought more than there is room for; the rest was given back");
        self.member.parked.given_back();
        self.surplus.clear();
        Ok(())
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
        alone = alone.with_id(MessageId::new(copy(id.as_bytes())));
    }
    let mut headers = Headers::new();
    for (name, value) in message.headers().iter() {
        headers.append(copy(name), value.map(copy).unwrap_or_default());
    }
    alone.with_headers(headers)
}
