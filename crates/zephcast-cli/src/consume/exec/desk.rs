//! Where handlers and members report: writes what is to be seen, and notices when it is time to leave.

use std::collections::HashSet;

use tokio::sync::{Semaphore, mpsc};
use zephcast::{Event, MemberName, Position};

use crate::consume::members::Happening;
use crate::consume::session::{End, Session};

/// What handlers and members report.
pub(crate) enum News {
    Event(MemberName, Event),
    /// A command begins; the line to be shown, if any.
    Begun(Vec<u8>),
    /// A command ended.
    Ended {
        /// Whether the message is done with, rather than to come again.
        settled: bool,
        /// Where the message was that goes to the dead letters.
        condemned: Option<Position>,
    },
}

pub(crate) struct Desk<'s, 'a> {
    session: &'s mut Session<'a>,
    heard: mpsc::UnboundedReceiver<News>,
    room: Option<&'s Semaphore>,
    broker: &'static str,
    /// The members that were announced.
    joined: HashSet<MemberName>,
    settled: usize,
    /// On their way to the dead letters by a verdict: their event counts nothing more.
    condemned: HashSet<Position>,
}

impl<'s, 'a> Desk<'s, 'a> {
    pub(crate) fn new(
        session: &'s mut Session<'a>,
        heard: mpsc::UnboundedReceiver<News>,
        room: Option<&'s Semaphore>,
        broker: &'static str,
    ) -> Self {
        Self { session, heard, room, broker, joined: HashSet::new(), settled: 0, condemned: HashSet::new() }
    }

    /// Hears and writes until there is a reason to leave.
    ///
    /// Not cancel safe: a page that is being written would be forgotten.
    pub(crate) async fn run(&mut self) -> End {
        loop {
            if self.session.arguments.count.is_some_and(|count| self.settled >= count) {
                return End::Asked;
            }
            let must_write = self.session.page.is_full();
            let unwritten = !self.session.page.is_empty();
            let step = tokio::select! {
                biased;
                () = std::future::ready(()), if must_write => self.session.write(drop).await,
                Some(news) = self.heard.recv() => {
                    self.take(news);
                    Ok(())
                }
                () = std::future::ready(()), if unwritten => self.session.write(drop).await,
                end = self.session.asked_to_leave() => Err(end),
            };
            match step {
                Ok(()) if self.session.shutdown.requested() => return End::Asked,
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    /// Hears what is said while the group is being left. Never ends. Cancel safe.
    pub(crate) async fn keep_on(&mut self) {
        while let Some(news) = self.heard.recv().await {
            self.take(news);
        }
        std::future::pending().await
    }

    /// Hears what was said last.
    pub(crate) fn hear_the_rest(&mut self) {
        while let Ok(news) = self.heard.try_recv() {
            self.take(news);
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Event(member, event) => {
                if self.joined.insert(member.clone()) {
                    self.session.joined(&member, self.broker);
                }
                if let Event::DeadLettered { position, .. } = &event
                    && !self.condemned.remove(position)
                {
                    // Given up without a command: it killed its process too often.
                    self.settled += 1;
                    self.room.into_iter().for_each(|room| drop(room.forget_permits(1)));
                }
                // News are no delivery and no end.
                let _ = self.session.take(Happening::Event(member, event));
            }
            News::Begun(line) => {
                self.session.idle.begin();
                self.session.page.line(&line);
            }
            News::Ended { settled, condemned } => {
                self.session.idle.finish();
                self.settled += usize::from(settled);
                self.condemned.extend(condemned);
            }
        }
    }
}
