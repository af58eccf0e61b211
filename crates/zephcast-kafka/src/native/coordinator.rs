//! Calls that a group's coordinator answers.
//!
//! librdkafka 2.12.1 uses memory that it freed, and so ends the process, when such a call reaches its own timeout before its
//! coordinator was found, and the coordinator is found later (`rd_kafka_admin_coord_request`; librdkafka's issue 4605). So
//! it gets a timeout that it never reaches: who waits gives up by a clock of his own, and the client is replaced, so that it
//! ends long before. A call that nobody waits for any more is watched until it is answered; for too long, with the same end.

use std::time::Duration;

use rdkafka::bindings::rd_kafka_admin_op_t as Api;
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::runtime::Handle;

use super::Library;
use super::answer::Answer;
use super::pending::{Call, Pending, call};
use crate::error::Failure;

/// The timeout that is never reached; the longest that librdkafka takes.
const NEVER: Duration = Duration::from_secs(3_600);
/// For how long a call that nobody waits for any more is watched.
const WATCHED: Duration = Duration::from_secs(30);

/// A call that a coordinator answers; watched on when it is dropped unanswered.
pub(super) struct Asked {
    client: Library,
    /// None once it is answered.
    pending: Option<Pending>,
}

/// Makes a call that a coordinator answers.
pub(super) fn ask(client: &Library, api: Api, send: impl FnOnce(&Call)) -> Asked {
    Asked { client: client.clone(), pending: Some(call(client, api, NEVER, send)) }
}

impl Asked {
    /// Waits for the answer.
    pub(super) async fn within(mut self, timeout: Duration) -> Result<Answer, Failure> {
        let given_up = || Failure::new(Code::OperationTimedOut, String::new());
        let pending = self.pending.as_mut().ok_or_else(given_up)?;
        let answer = tokio::time::timeout(timeout, pending).await;
        self.pending = None;
        if answer.is_err() {
            // Another client also looks for the coordinator afresh; this one may look at the wrong place for ever.
            self.client.overdue();
        }
        answer.map_err(|_| given_up())?.checked()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        let client = self.client.clone();
        match Handle::try_current() {
            // Nobody joins it: it ends with the answer, with its time or with the runtime.
            Ok(runtime) => drop(runtime.spawn(async move {
                if tokio::time::timeout(WATCHED, pending).await.is_err() {
                    client.overdue();
                }
            })),
            Err(_) => client.overdue(),
        }
    }
}
