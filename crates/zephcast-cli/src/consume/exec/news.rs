//! What handlers and members report to the desk.

use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zephcast::{Event, MemberName, Position};

/// So many bytes of lines may wait for the desk, so that a reader of stdout who is slow makes handlers wait rather than
/// memory grow. A longer line waits alone.
const ROOM: usize = 256 * 1024;

/// What is reported. Only lines can be long, and whatever else there is to say is about a delivery that had its line.
#[derive(Debug)]
pub(crate) enum News {
    Event(MemberName, Event),
    /// A command begins; the line to be shown, if any, and the room that it takes until it is heard.
    Begun(Vec<u8>, OwnedSemaphorePermit),
    /// A command ended.
    Ended {
        /// Whether the message is done with, rather than to come again.
        settled: bool,
        /// Where the message was that goes to the dead letters.
        condemned: Option<Position>,
    },
}

/// The way to the desk, in one order for all that is said.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    news: UnboundedSender<News>,
    room: Arc<Semaphore>,
}

/// A new way to a desk.
pub(crate) fn channel() -> (Reporter, UnboundedReceiver<News>) {
    let (news, heard) = unbounded_channel();
    (Reporter { news, room: Arc::new(Semaphore::new(ROOM)) }, heard)
}

impl Reporter {
    pub(crate) fn event(&self, member: &MemberName, event: &Event) {
        self.say(News::Event(member.clone(), event.clone()));
    }

    /// Waits for room. Cancel safe: dropped before, nothing was said.
    pub(crate) async fn begun(&self, line: Vec<u8>) {
        #[expect(clippy::cast_possible_truncation, reason = "the room is far below 2^32")]
        let room = line.len().min(ROOM) as u32;
        let Ok(permit) = self.room.clone().acquire_many_owned(room).await else { return };
        self.say(News::Begun(line, permit));
    }

    pub(crate) fn ended(&self, settled: bool, condemned: Option<Position>) {
        self.say(News::Ended { settled, condemned });
    }

    fn say(&self, news: News) {
        // The desk hears until the last handler ended.
        let _ = self.news.send(news);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn lines_wait_for_a_slow_reader_and_nothing_else_does() {
        let (reporter, mut heard) = channel();
        for _ in 0..4 {
            reporter.begun(vec![0; ROOM / 4]).await;
        }
        let mut waits = Box::pin(reporter.begun(vec![0; 1]));
        assert!((&mut waits).now_or_never().is_none(), "there is no room");
        reporter.ended(true, None);
        assert!(matches!(heard.recv().await, Some(News::Begun(..))));
        waits.now_or_never().expect("there is room again");
    }

    #[tokio::test]
    async fn a_line_longer_than_the_room_goes_alone() {
        let (reporter, mut heard) = channel();
        reporter.begun(vec![0; ROOM * 3]).await;
        assert!(reporter.begun(vec![0; 1]).now_or_never().is_none());
        drop(heard.recv().await);
        reporter.begun(vec![0; 1]).now_or_never().expect("it was heard");
        assert!(matches!(heard.recv().await, Some(News::Begun(line, _)) if line.len() == 1));
    }
}
