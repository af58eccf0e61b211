//! Says when what is published waits for the broker, and when no longer.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use zephcast::{Error, ErrorKind, Publisher};

use crate::exit::describe;
use crate::output::Output;

const LOOK: Duration = Duration::from_secs(1);

/// Follows the publisher without an end. What is over within two looks is not told.
pub(super) async fn tell(publisher: &Publisher, output: &Output) -> Infallible {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut told): (Option<ErrorKind>, Option<ErrorKind>) = (None, None);
    loop {
        looks.tick().await;
        let trouble = publisher.trouble();
        let kind = trouble.as_ref().map(Error::kind);
        if kind == seen && kind != told {
            match &trouble {
                Some(error) => output.tell(format_args!("publishing waits: {}", describe(error))),
                None => output.tell("publishing goes on"),
            }
            told = kind;
        }
        seen = kind;
    }
}
