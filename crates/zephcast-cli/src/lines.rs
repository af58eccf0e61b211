//! Lines of stdin, read on a thread of their own since reading it blocks.

use std::io::{self, BufRead, Read};

use tokio::sync::mpsc;

/// A longer line is no message that any broker would take (512 MiB is what Redis takes).
const LONGEST: usize = 512 * 1024 * 1024;
/// Lines are handed over in batches of about this size in bytes.
const BATCH: usize = 64 * 1024;

/// One line of the input, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole(Vec<u8>),
    /// Longer than can be; it was skipped.
    TooLong,
}

/// The lines that are there, as soon as they are.
pub(crate) type Batches = mpsc::Receiver<io::Result<Vec<Line>>>;

/// An input of one message.
pub(crate) fn once(payload: Vec<u8>) -> Batches {
    let (sender, receiver) = mpsc::channel(1);
    // The channel is new, empty and open.
    let _ = sender.try_send(Ok(vec![Line::Whole(payload)]));
    receiver
}

/// The lines of stdin. The thread ends with the input, or with the process.
pub(crate) fn stdin() -> Batches {
    let (sender, receiver) = mpsc::channel(2);
    std::thread::spawn(move || {
        let mut input = io::BufReader::with_capacity(BATCH, io::stdin());
        loop {
            match next_batch(&mut input, LONGEST) {
                Ok(batch) if batch.is_empty() => break,
                batch => {
                    let failed = batch.is_err();
                    if sender.blocking_send(batch).is_err() || failed {
                        break;
                    }
                }
            }
        }
    });
    receiver
}

/// What a line that is too long is told.
pub(crate) fn too_long() -> String {
    format!("it is longer than {LONGEST} bytes")
}

/// Reads at least one line, and further ones while that needs no waiting. Nothing at the end of the input.
fn next_batch<R: Read>(input: &mut io::BufReader<R>, longest: usize) -> io::Result<Vec<Line>> {
    let (mut batch, mut size) = (Vec::new(), 0);
    while batch.is_empty() || (size < BATCH && input.buffer().contains(&b'\n')) {
        let Some(line) = next_line(input, longest)? else { break };
        if let Line::Whole(line) = &line {
            size += line.len();
        }
        batch.push(line);
    }
    Ok(batch)
}

fn next_line(input: &mut impl BufRead, longest: usize) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let limit = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > longest {
        drop(line);
        input.skip_until(b'\n')?;
        return Ok(Some(Line::TooLong));
    }
    Ok(Some(Line::Whole(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], longest: usize) -> Vec<Line> {
        let mut input = io::BufReader::with_capacity(7, bytes);
        let mut lines = Vec::new();
        loop {
            match next_batch(&mut input, longest).unwrap() {
                batch if batch.is_empty() => return lines,
                batch => lines.extend(batch),
            }
        }
    }

    fn whole(lines: &[&str]) -> Vec<Line> {
        lines.iter().map(|line| Line::Whole(line.as_bytes().to_vec())).collect()
    }

    #[test]
    fn every_line_once_with_or_without_a_last_newline() {
        assert_eq!(all(b"", 9), whole(&[]));
        assert_eq!(all(b"a\n\nlonger\r\nend", 9), whole(&["a", "", "longer\r", "end"]));
        assert_eq!(all(b"\n", 9), whole(&[""]));
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_read() {
        let lines = all(b"123456789\n1234567890\nok\n1234567890", 9);
        assert_eq!(lines[0], Line::Whole(b"123456789".to_vec()));
        assert_eq!(lines[1..], [Line::TooLong, Line::Whole(b"ok".to_vec()), Line::TooLong]);
    }
}
