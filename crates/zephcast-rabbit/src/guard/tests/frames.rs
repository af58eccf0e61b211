use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::poll_immediate;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use tokio::io::{AsyncRead, ReadBuf};
use tracing::Dispatch;

use super::super::fields::MAX_DEPTH;
use super::*;
use crate::guard::{Guard, ServerVersion, Taken};

/// Gives one piece per read, or a part of it, and has nothing for a moment before each.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    waits: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.waits = !self.waits;
        if self.waits {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(to.remaining()));
            to.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn guard<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Guard {
    let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect();
    let wire = tokio::io::join(Pieces { pieces, waits: false }, tokio::io::sink());
    Guard::new(Box::new(wire), ServerVersion::default(), Taken::default(), Dispatch::none())
}

/// All that comes, read by so many bytes at most.
async fn all(mut guard: Guard, at_once: usize) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; at_once]);
    loop {
        match guard.read(&mut buffer).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

fn delivered(key: &[u8]) -> Vec<u8> {
    let tag = [0, 0, 0, 0, 0, 0, 0, 1, 0];
    frame(1, &[&[0, 60, 0, 60][..], &short(b"tag"), &tag, &short(b"orders"), &short(key)].concat())
}

/// Messages of others with a heartbeat between them, as `name` and `kind` of the deepest header make them good or bad.
fn conversation(name: &[u8], kind: u8) -> Vec<u8> {
    let deep = |kind| {
        let innermost = [&[kind][..], &long(&[])].concat();
        nested(MAX_DEPTH, &entry(name, innermost[0], &innermost[1..]), false)
    };
    let message = |body: &[u8], table: &[u8]| [delivered(name), frame(2, &header(table)), frame(3, body)].concat();
    let good = [delivered(b"key"), frame(2, &header(&entry(b"name", b'V', &[]))), frame(3, b"\x01\x02\xCE")].concat();
    // Bodies look like frames of their own.
    let bodies = frame(3, &frame(2, &header(&entry(b"\xFF", b'V', &[]))));
    [&good[..], &message(b"\xFF", &deep(kind)), &frame(8, &[]), &bodies, &message(&[], &[]), &good].concat()
}

#[tokio::test]
async fn wherever_it_is_cut_the_same_comes_out() {
    let (before, after) = (conversation(b"n\xFF", b'F'), conversation(b"n?", b'x'));
    for at in 0..before.len() {
        let (left, right) = before.split_at(at);
        assert_eq!(all(guard([left, right]), 1 << 16).await.unwrap(), after, "{at}");
    }
    for size in [1, 2, 3, 7, 8, 9, 100, before.len()] {
        for at_once in [1, 7, 1 << 16] {
            assert_eq!(all(guard(before.chunks(size)), at_once).await.unwrap(), after, "{size}, {at_once}");
        }
    }
}

#[tokio::test]
async fn what_is_good_stays_as_it_is() {
    let good = conversation(b"name", b'x');
    assert_eq!(all(guard([&good[..]]), 1 << 16).await.unwrap(), good);
}

#[tokio::test]
async fn a_frame_is_held_back_until_it_is_whole() {
    let message = frame(2, &header(&entry(b"\xFF", b'V', &[])));
    let (start, end) = message.split_at(message.len() - 1);
    let mut guard = guard([start, end]);
    let mut buffer = [0; 100];
    // Twice there is nothing for a moment, before each piece.
    for _ in 0..2 {
        assert!(poll_immediate(guard.read(&mut buffer)).await.is_none());
    }
    assert_eq!(guard.read(&mut buffer).await.unwrap(), message.len());
}

#[tokio::test]
async fn large_frames_come_whole() {
    let body: Vec<u8> = (0..400_000_u32).map(|n| n as u8).collect();
    let table = |name: &[u8]| [entry(b"large", b'S', &long(&body)), entry(name, b'V', &[])].concat();
    let messages = |name: &[u8]| {
        [delivered(name), frame(2, &header(&table(name))), frame(3, &body), delivered(name)].concat().repeat(3)
    };
    let (before, after) = (messages(b"\xFF"), messages(b"?"));
    for size in [1000, 1 << 16, before.len()] {
        for at_once in [1000, 1 << 22] {
            assert!(all(guard(before.chunks(size)), at_once).await.unwrap() == after, "{size}, {at_once}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_held_back_ends_the_connection() {
    let endless = [&[2, 0, 1, 255, 255, 255, 255][..], &vec![0; 16 * 1024 * 1024]].concat();
    let error = all(guard([&endless[..]]), 1 << 16).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn what_is_no_frame_is_left_to_the_client_library() {
    let bad = frame(2, &header(&entry(b"\xFF", b'V', &[])));
    let unended = [&bad[..bad.len() - 1], b"?"].concat();
    for said in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"AMQP\x00\x00\x09\x01", &unended, &[0; 20]] {
        let said = [said, &bad].concat();
        assert_eq!(all(guard([&said[..]]), 1 << 16).await.unwrap(), said);
    }
}

#[tokio::test]
async fn a_part_of_a_frame_is_the_end() {
    let whole = delivered(b"key");
    let mut guard = guard([&whole[..], &whole[..9]]);
    let mut buffer = [0; 100];
    assert_eq!(guard.read(&mut buffer).await.unwrap(), whole.len());
    assert_eq!(guard.read(&mut buffer).await.unwrap(), 0);
}

#[tokio::test]
async fn what_goes_to_the_server_is_counted() {
    let taken = Taken::default();
    let wire = tokio::io::join(tokio::io::empty(), tokio::io::sink());
    let mut guard = Guard::new(Box::new(wire), ServerVersion::default(), taken.clone(), Dispatch::none());
    guard.write_all(b"in one").await.unwrap();
    assert_eq!(taken.bytes(), 6);
    let written = guard.write_vectored(&[io::IoSlice::new(b"in "), io::IoSlice::new(b"two")]).await.unwrap();
    assert_eq!(taken.bytes(), 6 + written as u64);
    assert!(written > 0);
}
