//! Where handlers and members report: writes what is to be seen, and notices when it is time to leave.

use std::collections::HashSet;
use std::convert::Infallible;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use zephcast::MemberName;

use super::news::News;
use crate::consume::members::Happening;
use crate::consume::session::{End, Session};

pub(crate) struct Desk<'s, 'a> {
    session: &'s mut Session<'a>,
    heard: UnboundedReceiver<News>,
    room: Option<&'s Semaphore>,
    broker: &'static str,
    /// The members that were announced.
    joined: HashSet<MemberName>,
    settled: usize,
}

impl<'s, 'a> Desk<'s, 'a> {
    pub(crate) fn new(
        session: &'s mut Session<'a>,
        heard: UnboundedReceiver<News>,
        room: Option<&'s Semaphore>,
        broker: &'static str,
    ) -> Self {
        Self { session, heard, room, broker, joined: HashSet::new(), settled: 0 }
    }

    /// Hears and writes; `leave` is called once, when there is a reason to leave. Never ends by itself.
    pub(crate) async fn run(&mut self, leave: impl FnOnce(End)) -> Infallible {
        let end = self.until_end().await;
        let read = matches!(end, End::Asked);
        leave(end);
        loop {
            let unwritten = !self.session.page.is_empty();
            tokio::select! {
                biased;
                Some(news) = self.heard.recv(), if !self.session.page.is_full() => self.take(news),
                // A write that has begun is not left: what it has would be lost.
                () = std::future::ready(()), if unwritten && read => {
                    // That it cannot be written is found again at the report.
                    let _ = self.session.write(drop).await;
                }
                () = std::future::ready(()), if unwritten => drop(self.session.page.take_bytes()),
                else => std::future::pending().await,
            }
        }
    }

    /// Hears what was said last.
    pub(crate) fn hear_the_rest(&mut self) {
        while let Ok(news) = self.heard.try_recv() {
            self.take(news);
        }
    }

    async fn until_end(&mut self) -> End {
        loop {
            let settled = self.settled + self.session.given_up;
            if self.session.arguments.count.is_some_and(|count| settled >= count) {
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

    fn take(&mut self, news: News) {
        match news {
            News::Event(member, event) => {
                if self.joined.insert(member.clone()) {
                    self.session.joined(&member, self.broker);
                }
                let before = self.session.given_up;
                // News are no delivery and no end.
                let _ = self.session.take(Happening::Event(member, event));
                if let Some(room) = self.room {
                    room.forget_permits(self.session.given_up - before);
                }
            }
            News::Begun(line, room) => {
                self.session.idle.begin();
                self.session.page.line(&line);
                drop(room);
            }
            News::Ended { settled, condemned } => {
                self.session.idle.finish();
                self.settled += usize::from(settled);
                condemned.into_iter().for_each(|position| self.session.condemn(position));
            }
        }
    }
}
