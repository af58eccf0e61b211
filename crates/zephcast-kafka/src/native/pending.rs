//! A call that waits for its answer.

use std::ffi::{c_char, c_int, c_void};
use std::future::Future;
use std::pin::Pin;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use rdkafka::bindings::{
    rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new, rd_kafka_AdminOptions_set_isolation_level,
    rd_kafka_AdminOptions_set_operation_timeout, rd_kafka_AdminOptions_set_request_timeout, rd_kafka_AdminOptions_t,
    rd_kafka_IsolationLevel_t, rd_kafka_admin_op_t as Api, rd_kafka_error_destroy, rd_kafka_queue_cb_event_enable,
    rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_queue_poll, rd_kafka_queue_t, rd_kafka_t,
};

use super::Library;
use super::answer::Answer;

/// The longest timeout that librdkafka takes, in milliseconds.
const LONGEST_MS: c_int = 3_600_000;

/// What a call is given by librdkafka's own types.
pub(super) struct Call {
    pub(super) client: *mut rd_kafka_t,
    pub(super) options: *const rd_kafka_AdminOptions_t,
    pub(super) queue: *mut rd_kafka_queue_t,
}

/// A call that waits for its answer. Dropped, it forgets the answer, and librdkafka forgets whom to tell.
pub(super) struct Pending {
    queue: NonNull<rd_kafka_queue_t>,
    /// Woken by librdkafka when the answer is there. Shared, since librdkafka keeps its address.
    waker: Arc<AtomicWaker>,
    /// The queue is part of it.
    client: Library,
}

// SAFETY: librdkafka's queues may be used by any thread: https://docs.confluent.io/platform/current/clients/librdkafka/html
unsafe impl Send for Pending {}

/// Makes a call: `send` gets what it needs, and hands it to librdkafka.
pub(super) fn call(client: &Library, api: Api, timeout: Duration, send: impl FnOnce(&Call)) -> Pending {
    let native = client.native();
    // SAFETY: the client is alive, and `Pending` keeps it so for as long as there is the queue.
    let queue = unsafe { NonNull::new(rd_kafka_queue_new(native)) };
    let pending = Pending {
        queue: queue.expect("librdkafka makes every queue that it is asked for"),
        waker: Arc::default(),
        client: client.clone(),
    };
    let waker = Arc::as_ptr(&pending.waker).cast_mut().cast::<c_void>();
    // SAFETY: `Pending` takes the callback away before it frees the waker.
    unsafe { rd_kafka_queue_cb_event_enable(pending.queue.as_ptr(), Some(wake), waker) };
    let options = Options::new(native, api, timeout);
    send(&Call { client: native, options: options.0, queue: pending.queue.as_ptr() });
    pending
}

/// Called by a thread of librdkafka, which holds the queue's lock.
unsafe extern "C" fn wake(_: *mut rd_kafka_t, waker: *mut c_void) {
    // SAFETY: the waker of a `Pending` that still has its callback, see there.
    let waker = unsafe { &*waker.cast::<AtomicWaker>() };
    waker.wake();
}

impl Future for Pending {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        self.waker.register(context.waker());
        // SAFETY: the queue is ours until it is dropped.
        let event = unsafe { rd_kafka_queue_poll(self.queue.as_ptr(), 0) };
        match NonNull::new(event) {
            Some(event) => Poll::Ready(Answer::new(event, self.client.clone())),
            None => Poll::Pending,
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // SAFETY: librdkafka calls back under the queue's lock, which this takes, so that afterwards nobody has the
        // waker. It answers to a queue that is gone by dropping the answer.
        unsafe {
            rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, null_mut());
            rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Options of one call.
struct Options(*mut rd_kafka_AdminOptions_t);

impl Options {
    fn new(client: *mut rd_kafka_t, api: Api, timeout: Duration) -> Self {
        let mut text = [0 as c_char; 256];
        let ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX).min(LONGEST_MS);
        // SAFETY: the client is alive; the text is as long as is said. An option that a call does not have is refused
        // by value.
        unsafe {
            let options = rd_kafka_AdminOptions_new(client, api);
            rd_kafka_AdminOptions_set_request_timeout(options, ms, text.as_mut_ptr(), text.len());
            if matches!(api, Api::RD_KAFKA_ADMIN_OP_CREATETOPICS | Api::RD_KAFKA_ADMIN_OP_DELETETOPICS) {
                // The broker answers when every node knows.
                rd_kafka_AdminOptions_set_operation_timeout(options, ms, text.as_mut_ptr(), text.len());
            }
            Self(options)
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made by `new`; the call copied them.
        unsafe { rd_kafka_AdminOptions_destroy(self.0) };
    }
}

/// Where a partition ends for whoever reads only what is committed.
pub(super) fn only_committed(call: &Call) {
    let level = rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
    // SAFETY: the options are those of a call that is being made, and nobody else has them.
    unsafe {
        let refused = rd_kafka_AdminOptions_set_isolation_level(call.options.cast_mut(), level);
        if !refused.is_null() {
            rd_kafka_error_destroy(refused);
        }
    }
}
