//! The receiving half of a member.

mod ahead;
mod buffer;
mod parked;
mod size;
mod surplus;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use zephcast_core::driver::{Batch, Credit, Fetched, Incoming, Intake};
use zephcast_core::{Event, Result, Token, UnitId};

use self::buffer::Buffer;
use self::parked::Doubt;
use self::size::ReadSize;
use crate::connection::Connection;
use crate::entry::{ATTEMPTS, Entry, FIRST_FAILED};
use crate::error::{CallFailure, closed};
use crate::member::{Member, lock};
use crate::reader::{Reader, Reading, unblock};
use crate::reply::{Frame, array, elements, entry_id};
use crate::token;

const OPERATION: &str = "fetch";
/// A Redis stream has one unit.
pub(crate) const UNIT: UnitId = UnitId(0);
/// See [`RedisIntake::patience`]: some minutes with the usual timeouts.
const MOST_PATIENCE: u32 = 64;
/// How long an ended read may take to arrive.
const INTERRUPT_PATIENCE: Duration = Duration::from_millis(100);

pub(crate) struct RedisIntake {
    member: Arc<Member>,
    connection: Connection,
    /// None before the first read and after a connection broke.
    reader: Option<Reader>,
    /// Read, and not handed out: for want of room, or because something else had to be said first.
    buffer: Buffer,
    assigned: bool,
    /// After which entries the list of what this member holds goes on; none when it was read to its end.
    relist: Option<(String, String)>,
    /// A claim of a suspect that had no answer.
    doubt: Option<Doubt>,
    size: ReadSize,
    /// Bytes that the last fetch had room for.
    room: usize,
    /// Read without room for it, and not yet given back.
    surplus: Vec<(Token, u32)>,
    /// How many times the usual an answer with messages may take: a slow network needs long for a large one.
    patience: u32,
}

impl RedisIntake {
    pub(crate) fn new(member: Arc<Member>) -> Self {
        Self {
            connection: member.control.another(),
            reader: None,
            buffer: Buffer::new(member.clone()),
            member,
            assigned: false,
            relist: None,
            doubt: None,
            size: ReadSize::new(),
            room: 0,
            surplus: Vec::new(),
            patience: 1,
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
        self.room = credit.bytes;
        let member = self.member.clone();
        let fetched = tokio::select! {
            biased;
            () = member.control.closed() => Err(closed(OPERATION)),
            fetched = self.fetch_next(credit) => fetched,
            () = member.interrupts.notified() => self.finish_read(credit).await,
        };
        // It may be long until the next fetch.
        self.buffer.keep();
        fetched
    }
}

impl RedisIntake {
    /// Cancel safe, as an interrupt drops it: a read that is under way stays so, and what was taken off the wire is in
    /// the buffer before anything is waited for. A claim that is dropped is found again like one without an answer.
    async fn fetch_next(&mut self, credit: Credit) -> Result<Fetched> {
        loop {
            self.member.check_replaced(OPERATION)?;
            if self.member.recreated.swap(false, Ordering::Relaxed) {
                return Ok(Fetched::Event(Event::Recreated));
            }
            let missing = self.member.missing.swap(0, Ordering::Relaxed);
            if missing > 0 {
                return Ok(Fetched::Event(Event::Missing { unit: UNIT, count: missing }));
            }
            self.settle_surplus().await?;
            if credit.messages == 0 {
                if self.reader.is_none() {
                    return self.connect().await;
                }
                self.wait_for_news(credit).await?;
                continue;
            }
            self.settle_doubt().await?;
            if credit.suspect {
                return self.one_suspect().await;
            }
            if let Some(batch) = self.hand_out(credit) {
                return Ok(Fetched::Batch(batch));
            }
            if self.reader.is_none() {
                return self.connect().await;
            }
            if self.relist.is_some() {
                self.relist_some(credit).await?;
                continue;
            }
            if self.member.parked.has_returned() {
                if self.is_reading() {
                    // It would bring more than there is room for beside what was given back.
                    self.end_read().await?;
                } else {
                    self.take_returned(credit).await?;
                }
                continue;
            }
            if self.member.parked.has_news_of_suspects() {
                // While the engine is at suspects nobody would take, or renew, what a read brings.
                self.end_read().await?;
                if self.buffer.is_empty() && !self.is_reading() {
                    self.member.parked.told();
                    return Ok(Fetched::Suspects);
                }
                continue;
            }
            self.read(credit).await?;
        }
    }

    /// Connects, or connects again, and brings nothing, so that whoever waits for it hears at once that the server is
    /// back. With the first connection the member holds nothing yet.
    async fn connect(&mut self) -> Result<Fetched> {
        let reader = Reader::open(&self.connection, self.member.clone()).await?;
        self.require_settling().await?;
        self.reader = Some(reader);
        Ok(Fetched::Idle)
    }

    /// What is read here can be acked: an ack of nothing is refused by a replica, and to a user without the right.
    async fn require_settling(&self) -> Result<()> {
        let (stream, group) = (self.member.keys.stream.as_str(), self.member.keys.group.as_str());
        let nothing = vec![stream.into(), group.into(), "0-0".into()];
        self.member.control.call(OPERATION, "XACK", Some(stream), nothing).await.map(drop)
    }

    /// Reads nothing more, but takes what is on its way already, so that it is renewed.
    async fn wait_for_news(&mut self, credit: Credit) -> Result<()> {
        if self.is_reading() {
            let read = self.read(credit).await;
            self.buffer.keep();
            read
        } else {
            self.member.news.notified().await;
            Ok(())
        }
    }

    async fn read(&mut self, credit: Credit) -> Result<()> {
        let count = self.size.count(credit);
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let member = self.member.clone();
        let reading = tokio::select! {
            biased;
            reading = reader.read(count, self.patience) => reading,
            () = member.news.notified() => return Ok(()),
        };
        self.read_ahead(reading.as_ref(), credit);
        self.take_answer(reading).await
    }

    /// Whether a read was asked for and has not been taken.
    fn is_reading(&self) -> bool {
        self.reader.as_ref().is_some_and(Reader::is_waiting)
    }

    /// Ends the read that is under way and takes what it brought. Out of patience it is left as it is.
    async fn end_read(&mut self) -> Result<()> {
        let Some(reader) = self.reader.as_mut().filter(|reader| reader.is_waiting()) else { return Ok(()) };
        unblock(&self.member).await;
        match tokio::time::timeout(INTERRUPT_PATIENCE, reader.read(1, self.patience)).await {
            Ok(reading) => self.take_answer(reading).await,
            Err(_) => Ok(()),
        }
    }

    /// What an interrupt still brings: the read that is under way is ended and its entries are handed out.
    async fn finish_read(&mut self, credit: Credit) -> Result<Fetched> {
        if credit.messages == 0 {
            return Ok(Fetched::Idle);
        }
        // Out of patience: then what it brings is found when the member leaves.
        self.end_read().await?;
        if credit.suspect {
            return Ok(Fetched::Idle);
        }
        Ok(self.hand_out(credit).map_or(Fetched::Idle, Fetched::Batch))
    }

    async fn take_answer(&mut self, reading: Option<Reading>) -> Result<()> {
        match reading {
            Some(reading) => self.take_reading(reading).await,
            None => {
                self.broken();
                Ok(())
            }
        }
    }

    async fn take_reading(&mut self, reading: Reading) -> Result<()> {
        match reading.answer {
            Ok(frame) => {
                lock(&self.member.fence).arrived(reading.asked_at);
                self.take_streams(frame, reading.most)
            }
            // Ended by an interrupt, or the stream vanished while the read was waiting: the next one tells.
            Err(failure) if failure.has_code("UNBLOCKED") => Ok(()),
            Err(failure) if failure.has_code("NOGROUP") => {
                tracing::warn!(stream = %self.member.keys.stream, group = %self.member.keys.group,
                    "the group vanished from the server and is created again");
                // Before it is done, as an interrupt may hide that it was.
                self.member.recreated.store(true, Ordering::Relaxed);
                self.member.enter(true).await
            }
            Err(failure) => {
                self.note_late(&failure);
                if failure.ends_connection() {
                    self.broken();
                    self.size.shorten();
                }
                Err(failure.into_error(OPERATION))
            }
        }
    }

    /// The next answer may take longer: what comes slowly comes in the end.
    fn note_late(&mut self, failure: &CallFailure) {
        if failure.is_late() {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
            self.size.shorten();
        }
    }

    /// The connection is of no more use. What it was about to bring is found in the list of what is held.
    fn broken(&mut self) {
        self.reader = None;
        self.connection.forget();
        // It is in that list too.
        self.surplus.clear();
        self.relist = Some(("-".into(), "-".into()));
    }

    /// Entries of the retry stream and of the stream, into the buffer: as many as there was room for when they were asked for.
    fn take_streams(&mut self, frame: Frame, most: usize) -> Result<()> {
        let before = self.buffer.len();
        for stream in array(OPERATION, frame)? {
            let [key, entries] = elements(OPERATION, stream)?;
            let retried = crate::reply::bytes(OPERATION, key)? == self.member.keys.retry;
            for entry in array(OPERATION, entries)? {
                let [id, fields] = elements(OPERATION, entry)?;
                let id = entry_id(OPERATION, id)?;
                self.buffer.push(self.incoming(id, retried, 1, fields, false)?);
            }
        }
        if self.buffer.len() > before {
            self.patience = (self.patience / 2).max(1);
        }
        if self.give_back_what_does_not_fit(before, most).is_too_large {
            // The connection's buffer has grown with the reply, and goes with it.
            self.reader = None;
            self.connection.forget();
        }
        Ok(())
    }

    fn incoming(&self, id: Token, retried: bool, count: u64, fields: Frame, suspect: bool) -> Result<Incoming> {
        let entry = Entry::decode(OPERATION, fields, &self.member.payload_field)?;
        let (origin, earlier) = match retried {
            true => (entry.origin().unwrap_or(id), entry.number(ATTEMPTS).unwrap_or(0)),
            false => (id, 0),
        };
        Ok(Incoming {
            token: token::of_entry(OPERATION, id, retried)?,
            origin: (UNIT, origin),
            attempt: u32::try_from(count.saturating_add(earlier)).unwrap_or(u32::MAX).max(1),
            redelivered: retried || count > 1,
            published_ms: Some(origin.0),
            first_failed_ms: if retried { entry.number(FIRST_FAILED) } else { None },
            suspect,
            message: entry.message,
        })
    }

    /// As much of the buffer as there is room for.
    fn hand_out(&mut self, credit: Credit) -> Option<Batch> {
        let messages = self.buffer.take(credit);
        (!messages.is_empty()).then_some(Batch { unit: UNIT, messages })
    }
}
