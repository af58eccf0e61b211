//! Everything that must happen at once, as scripts that the server runs atomically. Their texts are constant; names,
//! ids and bodies travel as arguments.

use std::sync::LazyLock;
use std::time::Duration;

use fred::types::Value;

use crate::error::CallFailure;
use crate::link::Link;
use crate::reply::Frame;

/// A script, known to the server by its digest after it was sent once.
pub(crate) struct Script {
    source: &'static str,
    digest: String,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = [$($part:literal),+];)+) => {$(
        $(#[$doc])*
        pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!(concat!("scripts/", $part, ".lua"))),+)));
    )+};
}

scripts! {
    /// Creates a group where it is missing and enters a member.
    JOIN = ["own", "place", "group", "join"];
    /// Creates a group where it is missing.
    CREATE_GROUP = ["own", "place", "group"];
    /// Moves a group in which nobody lives.
    SEEK = ["own", "place", "lease", "idle", "seek"];
    /// Deletes a group in which nobody lives.
    DELETE_GROUP = ["own", "place", "lease", "idle", "delete_group"];
    /// Creates an empty stream where there is none.
    CREATE_STREAM = ["create_stream"];
    /// Acks what is still this member's.
    ACK = ["own", "ack"];
    /// Keeps what is still this member's.
    RENEW = ["own", "renew"];
    /// Takes what was returned, or one suspect.
    CLAIM = ["own", "claim"];
    /// What the server says that this member holds.
    RELIST = ["own", "relist"];
    /// Gives something of this member back, or keeps it with its attempts.
    GIVE = ["own", "give"];
    /// Schedules something of this member for later.
    LATER = ["own", "later"];
    /// Gives something of this member up.
    DEAD = ["own", "dead"];
    /// Moves what is due to where it is read.
    MOVE_DUE = ["move_due"];
    /// Looks after what dead members held.
    SCAN = ["own", "lease", "scan"];
    /// Gives everything of this member back.
    LEAVE = ["own", "leave"];
    /// Sends a dead letter back.
    REDRIVE = ["redrive"];
    /// Deletes some of what no group needs.
    TRIM = ["trim"];
    /// A look at a group.
    STATUS = ["status"];
    /// Counts entries after an id.
    COUNT_AFTER = ["count_after"];
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self { source, digest: fred::util::sha1_hash(source) }
    }

    /// Runs it on the node that has the first key, and sends its text when the server does not know it (any more).
    pub(crate) async fn run(
        &self,
        link: &Link,
        timeout: Duration,
        keys: &[&str],
        arguments: impl Fn() -> Vec<Value>,
    ) -> Result<Frame, CallFailure> {
        let call = |script: &str| {
            let arguments = arguments();
            let mut all: Vec<Value> = Vec::with_capacity(2 + keys.len() + arguments.len());
            all.push(script.into());
            all.push((keys.len() as i64).into());
            all.extend(keys.iter().map(|key| Value::from(*key)));
            all.extend(arguments);
            all
        };
        let key = keys.first().copied();
        match link.call_within(timeout, "EVALSHA", key, call(&self.digest)).await {
            Err(failure) if failure.has_code("NOSCRIPT") => {
                link.call_within(timeout, "EVAL", key, call(self.source)).await
            }
            answer => answer,
        }
    }
}
