//! The receiving half of a member.

mod parked;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::{Batch, Credit, Fetched, Incoming, Intake};
use zephcast_core::{Result, Token, UnitId};

use self::parked::Doubt;
use crate::RedisConfig;
use crate::connection::Connection;
use crate::entry::{ATTEMPTS, Entry, FIRST_FAILED};
use crate::member::{Member, lock};
use crate::reader::{Reader, Reading, unblock};
use crate::reply::{Frame, array, elements, entry_id};
use crate::token;

const OPERATION: &str = "fetch";
/// A Redis stream has one unit.
pub(crate) const UNIT: UnitId = UnitId(0);
/// How long an ended read may take to arrive.
const INTERRUPT_PATIENCE: Duration = Duration::from_millis(100);
/// The most entries of one read.
const LONGEST_READ: usize = 1_000;

pub(crate) struct RedisIntake {
    member: Arc<Member>,
    connection: Connection,
    /// None before the first read and after a connection broke.
    reader: Option<Reader>,
    /// Read, and not handed out for want of room.
    buffer: VecDeque<Incoming>,
    /// Whether tokens of the buffer stand in `Member::buffered`.
    stored: bool,
    assigned: bool,
    /// After which entries the list of what this member holds goes on; none when it was read to its end.
    relist: Option<(String, String)>,
    /// A claim of a suspect that had no answer.
    doubt: Option<Doubt>,
    /// A running mean of the size of a message.
    mean_bytes: usize,
    /// How many entries a read may bring: fewer after one that took too long, for a slow network.
    read_limit: usize,
}

impl RedisIntake {
    pub(crate) fn new(member: Arc<Member>, config: Arc<RedisConfig>) -> Self {
        Self {
            member,
            connection: Connection::new(config),
            reader: None,
            buffer: VecDeque::new(),
            stored: false,
            assigned: false,
            relist: None,
            doubt: None,
            mean_bytes: 256,
            read_limit: LONGEST_READ,
        }
    }
}

#[async_trait]
impl Intake for RedisIntake {
    async fn fetch(&mut self, credit: Credit) -> Result<Fetched> {
        self.member.check_replaced(OPERATION)?;
        if !self.assigned {
            self.assigned = true;
            return Ok(Fetched::Assigned(vec![UNIT]));
        }
        let member = self.member.clone();
        tokio::select! {
            biased;
            fetched = self.fetch_next(credit) => fetched,
            () = member.interrupts.notified() => self.finish_read(credit).await,
        }
    }
}

impl RedisIntake {
    /// Cancel safe, as an interrupt drops it: a read that is under way stays so, and what was taken off the wire is in
    /// the buffer before anything is waited for. A claim that is dropped is found again like one without an answer.
    async fn fetch_next(&mut self, credit: Credit) -> Result<Fetched> {
        loop {
            self.member.check_replaced(OPERATION)?;
            let missing = self.member.missing.swap(0, Ordering::Relaxed);
            if missing > 0 {
                return Ok(Fetched::Missing { unit: UNIT, count: missing });
            }
            self.settle_doubt().await?;
            if credit.suspect {
                return self.one_suspect().await;
            }
            if let Some(batch) = self.hand_out(credit) {
                return Ok(Fetched::Batch(batch));
            }
            if self.reader.is_none() {
                self.connect().await?;
                // So that whoever waits for it hears at once that the server is back.
                return Ok(Fetched::Idle);
            }
            if self.relist.is_some() {
                self.relist_some().await?;
                continue;
            }
            if self.take_returned(credit).await? {
                continue;
            }
            if self.has_news_of_suspects() {
                return Ok(Fetched::Suspects);
            }
            self.read(credit).await?;
        }
    }

    /// Connects, or connects again. With the first connection the member holds nothing yet.
    async fn connect(&mut self) -> Result<()> {
        let reader = Reader::open(&self.connection, self.member.clone()).await?;
        self.member.control.link(OPERATION).await?;
        self.reader = Some(reader);
        Ok(())
    }

    async fn read(&mut self, credit: Credit) -> Result<()> {
        let count = self.room(credit).min(self.read_limit).max(1);
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let member = self.member.clone();
        let reading = tokio::select! {
            biased;
            reading = reader.read(count) => reading,
            () = member.news.notified() => return Ok(()),
        };
        match reading {
            Some(reading) => self.take_reading(reading).await,
            None => {
                self.broken();
                Ok(())
            }
        }
    }

    /// What an interrupt still brings: the read that is under way is ended and its entries are handed out.
    async fn finish_read(&mut self, credit: Credit) -> Result<Fetched> {
        if let Some(reader) = self.reader.as_mut().filter(|reader| reader.is_waiting()) {
            unblock(&self.member).await;
            // Ended, or out of patience: then it is found when the member leaves.
            if let Ok(Some(reading)) = tokio::time::timeout(INTERRUPT_PATIENCE, reader.read(1)).await {
                self.take_reading(reading).await?;
            }
        }
        if credit.suspect {
            return Ok(Fetched::Idle);
        }
        Ok(self.hand_out(credit).map_or(Fetched::Idle, Fetched::Batch))
    }

    async fn take_reading(&mut self, reading: Reading) -> Result<()> {
        match reading.answer {
            Ok(frame) => {
                lock(&self.member.fence).arrived(reading.asked_at);
                self.read_limit = (self.read_limit * 2).min(LONGEST_READ);
                self.take_streams(frame)
            }
            // Ended by an interrupt, or the stream vanished while the read was waiting: the next one tells.
            Err(failure) if failure.has_code("UNBLOCKED") => Ok(()),
            Err(failure) if failure.has_code("NOGROUP") => {
                tracing::warn!(stream = %self.member.keys.stream, group = %self.member.keys.group,
                    "the group vanished from the server and is created again");
                self.member.enter(true).await
            }
            Err(failure) => {
                if failure.ends_connection() {
                    self.broken();
                    self.read_limit = (self.read_limit / 4).max(1);
                }
                Err(failure.into_error(OPERATION))
            }
        }
    }

    /// The connection is of no more use. What it was about to bring is found in the list of what is held.
    fn broken(&mut self) {
        self.reader = None;
        self.connection.forget();
        self.relist = Some(("-".into(), "-".into()));
    }

    /// Entries of the retry stream and of the stream, into the buffer.
    fn take_streams(&mut self, frame: Frame) -> Result<()> {
        for stream in array(OPERATION, frame)? {
            let [key, entries] = elements(OPERATION, stream)?;
            let retried = crate::reply::bytes(OPERATION, key)? == self.member.keys.retry;
            for entry in array(OPERATION, entries)? {
                let [id, fields] = elements(OPERATION, entry)?;
                let id = entry_id(OPERATION, id)?;
                self.take_entry(id, retried, 1, fields, false)?;
            }
        }
        Ok(())
    }

    fn take_entry(&mut self, id: Token, retried: bool, count: u64, fields: Frame, suspect: bool) -> Result<()> {
        let incoming = self.incoming(id, retried, count, fields, suspect)?;
        self.mean_bytes = (self.mean_bytes * 15 + incoming.message.byte_len()) / 16;
        self.buffer.push_back(incoming);
        Ok(())
    }

    fn incoming(&self, id: Token, retried: bool, count: u64, fields: Frame, suspect: bool) -> Result<Incoming> {
        let entry = Entry::decode(OPERATION, fields, &self.member.payload_field)?;
        let (origin, earlier) = match retried {
            true => (entry.origin().unwrap_or(id), entry.number(ATTEMPTS).unwrap_or(0)),
            false => (id, 0),
        };
        Ok(Incoming {
            token: token::of_entry(id, retried),
            origin,
            attempt: u32::try_from(count + earlier).unwrap_or(u32::MAX).max(1),
            published_ms: Some(origin.0),
            first_failed_ms: if retried { entry.number(FIRST_FAILED) } else { None },
            suspect,
            message: entry.message,
        })
    }

    /// How many messages there is room for.
    fn room(&self, credit: Credit) -> usize {
        credit.messages.min(credit.bytes / self.mean_bytes.max(1)).max(1)
    }

    /// As much of the buffer as there is room for.
    fn hand_out(&mut self, credit: Credit) -> Option<Batch> {
        if self.stored {
            // A renewal may have found out that some of it is another's meanwhile.
            let buffered = lock(&self.member.buffered);
            self.buffer.retain(|incoming| buffered.contains(&incoming.token));
        }
        let mut bytes = 0;
        let fits = self.buffer.iter().take(credit.messages).take_while(|incoming| {
            let fits = bytes < credit.bytes;
            bytes += incoming.message.byte_len();
            fits
        });
        let count = fits.count().max(1).min(self.buffer.len());
        let messages: Vec<Incoming> = self.buffer.drain(..count).collect();
        if self.stored || !self.buffer.is_empty() {
            *lock(&self.member.buffered) = self.buffer.iter().map(|incoming| incoming.token).collect();
            self.stored = !self.buffer.is_empty();
        }
        (!messages.is_empty()).then_some(Batch { unit: UNIT, messages })
    }
}
