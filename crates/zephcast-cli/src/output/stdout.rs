//! Writing to stdout: off the runtime, since a reader that does not read blocks the writer, and with an exact account
//! of how much the reader's side took.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::termios::tcgetwinsize;
use tokio::sync::{Mutex, oneshot};

use crate::output::live::Size;

/// The process's stdout, without a buffer of its own.
#[derive(Clone, Debug)]
pub(crate) struct Stdout {
    file: Arc<File>,
    /// Held while bytes are on their way, so that what comes later is written later.
    turn: Arc<Mutex<()>>,
}

/// What became of a write.
#[derive(Debug)]
pub(crate) struct Written {
    /// So many bytes were taken: those and no others may count as seen.
    pub(crate) bytes: usize,
    /// Why it was not all of them.
    pub(crate) result: io::Result<()>,
}

impl Stdout {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self::new(io::stdout().as_fd().try_clone_to_owned()?))
    }

    /// Whether the process was started without a stdout. What stands in for it then is `/dev/null`, opened for reading
    /// and writing; a shell's `>/dev/null` is open for writing alone. Some programs that discard their children's
    /// output open it like this too, so it says nothing where discarding is harmless.
    pub(crate) fn was_closed(&self) -> bool {
        let null = std::fs::metadata("/dev/null").and_then(|null| Ok((null.rdev(), self.file.metadata()?)));
        let is_null = null.is_ok_and(|(null, own)| own.file_type().is_char_device() && own.rdev() == null);
        is_null && fcntl_getfl(&*self.file).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR)
    }

    /// How large the terminal is; that of old for one that does not say.
    pub(crate) fn size(&self) -> Size {
        let size = tcgetwinsize(&*self.file).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let (columns, rows) = size.map_or((80, 24), |size| (size.ws_col, size.ws_row));
        Size { columns: columns.into(), rows: rows.into() }
    }

    fn new(file: OwnedFd) -> Self {
        Self { file: Arc::new(file.into()), turn: Arc::default() }
    }

    /// Writes everything, or says how far it came.
    ///
    /// Not cancel safe: a dropped call goes on writing.
    pub(crate) async fn write(&self, bytes: Vec<u8>) -> Written {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let file = Arc::clone(&self.file);
        let writing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            write_all(&file, &bytes)
        });
        writing.await.unwrap_or_else(|error| Written { bytes: 0, result: Err(io::Error::other(error)) })
    }

    /// Resolves when nobody reads stdout any more. Never for a file or a terminal that stays.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + use<> {
        let (sender, receiver) = oneshot::channel::<()>();
        let file = Arc::clone(&self.file);
        // Ends with the process: a poll for nothing but the reader's end can be ended by nothing else.
        std::thread::spawn(move || {
            loop {
                let mut watched = [PollFd::new(&*file, PollFlags::empty())];
                match poll(&mut watched, None) {
                    Err(rustix::io::Errno::INTR) => {}
                    Ok(_) if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => break,
                    Ok(_) | Err(_) => return,
                }
            }
            // The command may have ended in the meantime.
            let _ = sender.send(());
        });
        async move {
            if receiver.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

fn write_all(mut file: &File, bytes: &[u8]) -> Written {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Written { bytes: written, result: Err(ErrorKind::WriteZero.into()) },
            Ok(taken) => written += taken,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another program of the pipeline made the pipe non-blocking: wait for room.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(file, PollFlags::OUT)], None);
            }
            Err(error) => return Written { bytes: written, result: Err(error) },
        }
    }
    Written { bytes: written, result: Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};

    use super::*;

    fn piped() -> (io::PipeReader, Stdout) {
        let (reader, writer) = pipe().unwrap();
        (reader, Stdout::new(writer.into()))
    }

    #[tokio::test]
    async fn says_how_much_was_taken_when_the_reader_goes_away() {
        let (mut reader, stdout) = piped();
        let reading = std::thread::spawn(move || reader.read_exact(&mut [0; 10]));
        // More than a pipe holds, so that the write is still on its way when the reader leaves.
        let written = stdout.write(vec![b'x'; 1 << 20]).await;
        reading.join().unwrap().unwrap();
        assert_eq!(written.result.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!((10..1 << 20).contains(&written.bytes), "{}", written.bytes);
    }

    #[tokio::test]
    async fn notices_a_reader_that_leaves_while_nothing_is_written() {
        let (reader, stdout) = piped();
        let mut closed = std::pin::pin!(stdout.closed());
        assert!(futures_util::poll!(&mut closed).is_pending());
        drop(reader);
        closed.await;
    }
}
