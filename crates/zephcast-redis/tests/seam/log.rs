//! What the driver writes to its log, for cases about what must not go unsaid.

use std::io;
use std::sync::{Mutex, Once};

use crate::prelude::*;

static WRITTEN: Mutex<String> = Mutex::new(String::new());
static START: Once = Once::new();

/// Begins to listen, for all cases of this process.
pub(crate) fn listen() {
    START.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
            .with_ansi(false)
            .with_writer(|| Page);
        subscriber.init();
    });
}

/// How many lines have all of these parts.
pub(crate) fn lines_with(parts: &[&str]) -> usize {
    let written = WRITTEN.lock().expect("no case panics while it writes");
    written.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
}

/// Waits for such a line.
pub(crate) async fn said(parts: &[&str]) {
    let until = Instant::now() + Duration::from_secs(10);
    while lines_with(parts) == 0 {
        assert!(Instant::now() < until, "nothing with {parts:?} was said within 10 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Page;

impl io::Write for Page {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        WRITTEN.lock().expect("no case panics while it writes").push_str(&String::from_utf8_lossy(text));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
