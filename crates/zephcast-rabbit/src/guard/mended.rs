//! What was changed, and telling it without a flood.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use tracing::dispatcher::with_default;
use tracing::{Dispatch, warn};

/// Told at most this often by a connection.
const BETWEEN: Duration = Duration::from_secs(10);

/// What was changed in a frame, or in several.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Mended {
    /// Short texts that were not UTF-8.
    pub(super) texts: u64,
    /// Tables and arrays that lay too deep.
    pub(super) nested: u64,
}

impl AddAssign for Mended {
    fn add_assign(&mut self, other: Self) {
        self.texts += other.texts;
        self.nested += other.nested;
    }
}

/// Tells each change once: the first at once, what comes soon after with the next, or at the end.
pub(super) struct Told {
    log: Dispatch,
    untold: Mended,
    last: Option<Instant>,
}

impl Told {
    /// Tells it to this log, whichever the thread has.
    pub(super) fn new(log: Dispatch) -> Self {
        Self { log, untold: Mended::default(), last: None }
    }

    pub(super) fn add(&mut self, mended: Mended) {
        if mended == Mended::default() {
            return;
        }
        self.untold += mended;
        if self.last.is_none_or(|last| last.elapsed() >= BETWEEN) {
            self.tell();
            self.last = Some(Instant::now());
        }
    }

    fn tell(&mut self) {
        let Mended { texts, nested } = std::mem::take(&mut self.untold);
        with_default(&self.log, || {
            warn!(
                texts,
                nested,
                "messages of other programs were changed to be readable: texts that are no UTF-8, headers nested too deep"
            );
        });
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if self.untold != Mended::default() {
            self.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::sync::Mutex;

    use tracing::dispatcher::get_default;

    use super::*;
    use crate::quiet::quietly;

    #[test]
    fn each_change_is_told_once_and_no_flood_of_them() {
        let (mut reader, writer) = io::pipe().unwrap();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Mutex::new(writer)).finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut told = Told::new(get_default(Clone::clone));
            quietly(|| {
                told.add(Mended::default());
                for _ in 0..1000 {
                    told.add(Mended { texts: 2, nested: 1 });
                }
                drop(told);
            });
        });
        let mut written = String::new();
        reader.read_to_string(&mut written).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines.len(), 2, "{written}");
        assert!(lines[0].contains("texts=2 nested=1"), "{written}");
        assert!(lines[1].contains("texts=1998 nested=999"), "{written}");
    }
}
