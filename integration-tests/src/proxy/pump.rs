//! One connection: two directions, each a reader and a writer with a queue of delayed chunks between them.

use std::future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Direction, Toxics, Wiring};

const CHUNK_BYTES: usize = 16 * 1024;
/// With latency, this many chunks may be on their way before the sender feels back-pressure.
const CHUNKS_ON_THE_WAY: usize = 256;
/// A limited bandwidth is metered in slices of this length, so that a change of the limit shows soon.
const SLICES_PER_SECOND: u32 = 50;

/// Why a connection ended other than by an end of stream on both sides.
enum Broken {
    Reset,
    Cut,
}

struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
}

/// Forwards until both sides have ended; says whether the connection was broken instead.
pub(super) async fn run(
    mut client: TcpStream,
    upstream: SocketAddr,
    wiring: &Wiring,
    mut resets: watch::Receiver<u64>,
) -> bool {
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        send_reset(&client);
        return true;
    };
    for socket in [&client, &server] {
        // Without it a packet may wait for its predecessor's acknowledgement: latency that nobody asked for.
        let _ = socket.set_nodelay(true);
    }
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            ended = async {
                tokio::try_join!(
                    forward(from_client, to_server, Direction::FromClient, wiring),
                    forward(from_server, to_client, Direction::FromServer, wiring),
                )
            } => ended.map(|_| ()),
            _ = resets.changed() => Err(Broken::Reset),
        }
    };
    match ended {
        Ok(()) => false,
        Err(Broken::Cut) => {
            send_reset(&client);
            true
        }
        Err(Broken::Reset) => {
            send_reset(&client);
            send_reset(&server);
            true
        }
    }
}

/// Makes the close that follows an RST instead of an orderly end.
fn send_reset(socket: &TcpStream) {
    // It fails only on a socket that the peer has already broken.
    let _ = socket.set_zero_linger();
}

async fn forward(
    reader: ReadHalf<'_>,
    writer: WriteHalf<'_>,
    direction: Direction,
    wiring: &Wiring,
) -> Result<(), Broken> {
    let (queue, chunks) = mpsc::channel(CHUNKS_ON_THE_WAY);
    tokio::select! {
        ended = write(writer, chunks, direction, wiring) => ended,
        // The reader's end only closes the queue: what is still on its way is written first.
        broken = read(reader, queue, wiring.toxics.subscribe()) => Err(broken),
    }
}

/// Reads until the end of the stream, then leaves the rest to the writer; returns only when the connection broke.
async fn read(mut reader: ReadHalf<'_>, queue: mpsc::Sender<Chunk>, toxics: watch::Receiver<Toxics>) -> Broken {
    loop {
        let mut bytes = vec![0; CHUNK_BYTES];
        match reader.read(&mut bytes).await {
            Ok(0) => break,
            Ok(read) => bytes.truncate(read),
            Err(_) => return Broken::Reset,
        }
        let due = Instant::now() + toxics.borrow().latency;
        if queue.send(Chunk { due, bytes }).await.is_err() {
            break;
        }
    }
    drop(queue);
    future::pending().await
}

async fn write(
    mut writer: WriteHalf<'_>,
    mut chunks: mpsc::Receiver<Chunk>,
    direction: Direction,
    wiring: &Wiring,
) -> Result<(), Broken> {
    let mut toxics = wiring.toxics.subscribe();
    // A connection with a hole in its stream must not go on: its peers would read garbage.
    let mut lost_bytes = false;
    loop {
        let chunk = tokio::select! {
            chunk = chunks.recv() => chunk,
            () = until(&mut toxics, |toxics| !toxics.black_hole[direction as usize]), if lost_bytes => {
                return Err(Broken::Reset);
            }
        };
        let Some(Chunk { due, bytes }) = chunk else { break };
        sleep_until(due).await;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            until(&mut toxics, |toxics| !toxics.hold[direction as usize]).await;
            let now = *toxics.borrow_and_update();
            if now.black_hole[direction as usize] {
                wiring.counters.send_modify(|counters| counters.swallowed += rest.len() as u64);
                lost_bytes = true;
                break;
            }
            if lost_bytes {
                return Err(Broken::Reset);
            }
            let wanted = match now.bandwidth {
                Some(rate) => {
                    let slice = (rate / SLICES_PER_SECOND).max(1).min(u32::try_from(rest.len()).unwrap_or(u32::MAX));
                    sleep(Duration::from_secs(1) * slice / rate).await;
                    slice as usize
                }
                None => rest.len(),
            };
            let (granted, cut) = wiring.spend(direction, wanted);
            let (piece, remaining) = rest.split_at(granted);
            writer.write_all(piece).await.map_err(|_| Broken::Reset)?;
            wiring.counters.send_modify(|counters| match direction {
                Direction::FromClient => counters.from_client += piece.len() as u64,
                Direction::FromServer => counters.from_server += piece.len() as u64,
            });
            if cut {
                return Err(Broken::Cut);
            }
            rest = remaining;
        }
    }
    until(&mut toxics, |toxics| !toxics.hold[direction as usize] && !toxics.black_hole[direction as usize]).await;
    if lost_bytes {
        return Err(Broken::Reset);
    }
    writer.shutdown().await.map_err(|_| Broken::Reset)
}

/// Waits until the switches satisfy `condition`; for ever when the proxy is gone, which ends this task anyway.
async fn until(toxics: &mut watch::Receiver<Toxics>, condition: impl FnMut(&Toxics) -> bool) {
    if toxics.wait_for(condition).await.is_err() {
        future::pending::<()>().await;
    }
}
