//! One producer of the library from its making to its end, and the thread that takes its reports.
//!
//! It ends when the client is closed, and when the library gives it up by a fatal error. Either way nothing is put into it
//! any more, whatever is in it gets its report, and then the thread drops it: that blocks, and no thread of a runtime
//! may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::Producer as _;
use zephcast_core::{ErrorKind, Result};

use super::reports::Reports;
use crate::context::Context;
use crate::error::{error, translate};
use crate::native::ask_for_brokers;
use crate::native::producer::Native;

/// How long the thread takes reports before it looks whether it is over.
const SLICE: Duration = Duration::from_millis(100);

pub(super) struct Epoch {
    pub(super) native: Native<Reports>,
    /// Set once, by whoever finds out: the library gave this producer up and takes nothing more.
    given_up: AtomicBool,
    /// Set once, by the owner: nothing is put in any more.
    retired: AtomicBool,
}

impl Epoch {
    /// Makes a producer and starts its thread.
    pub(super) fn start(config: &ClientConfig, context: Context) -> Result<Arc<Self>> {
        const OPERATION: &str = "open a producer";
        let native = Native::new(config, Reports::new(context)).map_err(|source| translate(OPERATION, source))?;
        let epoch = Arc::new(Self { native, given_up: AtomicBool::new(false), retired: AtomicBool::new(false) });
        epoch.reports().belong_to(&epoch);
        let started = thread::Builder::new().name("zephcast-kafka-reports".into()).spawn({
            let epoch = epoch.clone();
            move || run(epoch)
        });
        match started {
            Ok(_) => Ok(epoch),
            Err(source) => Err(error(ErrorKind::Internal, OPERATION, "no thread can be started").caused_by(source)),
        }
    }

    pub(super) fn reports(&self) -> &Reports {
        self.native.producer().context()
    }

    /// Whether the library gave it up. Then what was not sent comes back by itself.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    /// Lets it end once everything in it has its report. Whoever calls this gives up its own reference.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    fn is_over(self: &Arc<Self>) -> bool {
        self.retired.load(Ordering::Acquire)
            && Arc::strong_count(self) == 1
            && self.native.producer().in_flight_count() == 0
    }
}

fn run(epoch: Arc<Epoch>) {
    hurry(&epoch);
    while !epoch.is_over() {
        let producer = epoch.native.producer();
        producer.poll(SLICE);
        if producer.client().fatal_error().is_some() {
            epoch.give_up();
        }
    }
    let desk = epoch.reports().desk.clone();
    drop(epoch);
    desk.end();
}

/// An idempotent producer needs a number from the brokers. The library asks for it 500 ms after it began, or whenever it
/// hears who the brokers are while one of them is connected, which the answer to its own first question is too early for.
fn hurry(epoch: &Epoch) {
    const PATIENCE: Duration = Duration::from_millis(500);
    ask_for_brokers(epoch.native.producer().client(), PATIENCE);
    epoch.native.producer().poll(Duration::from_millis(20));
    ask_for_brokers(epoch.native.producer().client(), PATIENCE);
}
