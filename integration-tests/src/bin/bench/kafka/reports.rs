//! What became of the messages of a raw producer: counted, and nothing kept of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use super::PATIENCE;
use crate::Outcome;

#[derive(Clone)]
pub(super) struct Reports(Arc<Counts>);

struct Counts {
    all: AtomicUsize,
    bad: AtomicUsize,
    /// The count at which the sender is woken.
    wanted: AtomicUsize,
    sender: Thread,
}

impl Reports {
    /// For a sender on this thread.
    pub(super) fn new() -> Self {
        let [all, bad, wanted] = Default::default();
        Self(Arc::new(Counts { all, bad, wanted, sender: thread::current() }))
    }

    pub(super) fn count(&self) -> usize {
        self.0.all.load(SeqCst)
    }

    /// Waits until there are so many, on the sender's thread. Somebody else takes them.
    pub(super) fn wait_for(&self, count: usize) -> Outcome<()> {
        if self.count() >= count {
            return Ok(());
        }
        let began = Instant::now();
        self.0.wanted.store(count, SeqCst);
        // Whoever counts looks at what is wanted afterwards.
        while self.count() < count {
            thread::park_timeout(Duration::from_millis(100));
            if began.elapsed() > PATIENCE {
                return Err("messages have no report".into());
            }
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Outcome<()> {
        match self.0.bad.load(SeqCst) {
            0 => Ok(()),
            bad => Err(format!("{bad} messages were not stored").into()),
        }
    }
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        if report.is_err() {
            self.0.bad.fetch_add(1, SeqCst);
        }
        if self.0.all.fetch_add(1, SeqCst) + 1 == self.0.wanted.load(SeqCst) {
            self.0.sender.unpark();
        }
    }
}
