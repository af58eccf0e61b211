//! Why the server takes nothing from a connection for now, by the word of the latest of its links.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// What the latest link was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocking {
    /// How many links there have been.
    links: Arc<AtomicU64>,
    reason: watch::Sender<Option<String>>,
}

/// By which one link tells.
#[derive(Debug)]
pub(crate) struct BlockingOfLink {
    number: u64,
    of_all: Blocking,
}

impl Blocking {
    /// For the next link, which the server tells anew.
    pub(crate) fn of_next(&self) -> BlockingOfLink {
        let number = self.links.fetch_add(1, Ordering::Relaxed) + 1;
        self.reason.send_replace(None);
        BlockingOfLink { number, of_all: self.clone() }
    }

    /// Follows why nothing is taken.
    pub(crate) fn follow(&self) -> watch::Receiver<Option<String>> {
        self.reason.subscribe()
    }
}

impl BlockingOfLink {
    /// Why nothing is taken now, if so. Of a link that has a successor it says nothing any more.
    pub(crate) fn tell(&self, reason: Option<String>) {
        let Self { number, of_all } = self;
        of_all.reason.send_if_modified(|current| {
            let is_news = *number == of_all.links.load(Ordering::Relaxed) && *current != reason;
            if is_news {
                *current = reason;
            }
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_link_has_the_word() {
        let blocking = Blocking::default();
        let told = blocking.follow();
        let first = blocking.of_next();
        first.tell(Some("memory".into()));
        assert_eq!(told.borrow().as_deref(), Some("memory"));
        let second = blocking.of_next();
        assert_eq!(*told.borrow(), None, "the next one is told anew");
        second.tell(Some("disk".into()));
        first.tell(None);
        assert_eq!(told.borrow().as_deref(), Some("disk"), "the end of the former is no news");
    }
}
