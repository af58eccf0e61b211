//! `cargo run --example lag_and_status [URL]`
//!
//! A group is watched while it has no member, while it catches up, while its member is stuck with one message, and when
//! it is through: lag, in flight, oldest pending, members, rates, and a state that is judged by progress between two
//! looks. The stuck member is told as an event too. Without a URL the embedded broker is used.

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::error::Error;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use zephcast::driver::StreamSpec;
use zephcast::{Client, Delivery, Event, GroupState, GroupStatus, MemberState, Message, Start, connect};

const MESSAGES: u64 = 150;
/// The message at which the handler waits for something that does not come.
const STUCK_AT: &str = "100";
const WORK: Duration = Duration::from_millis(15);
/// Short, so that it does not take long to be stuck; the default is 30 s.
const LEASE: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_millis(500);
const PREFETCH: u64 = 20;
const WITHIN: Duration = Duration::from_secs(12);

/// The group being watched.
struct Watched {
    client: Client,
    stream: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".into());
    let client = connect(&url).await?;
    let watched = Watched { client: client.clone(), stream: format!("lag-and-status-{}", std::process::id()) };
    tokio::time::timeout(WITHIN, watched.run()).await??;
    client.admin().delete_stream(&watched.stream.parse()?).await?;
    client.close(WITHIN).await?;
    Ok(())
}

impl Watched {
    async fn run(&self) -> Result<(), Box<dyn Error>> {
        let stream = self.stream.parse()?;
        self.client.admin().create_stream(&StreamSpec::new(stream)).await?;
        self.client.admin().create_group(&self.stream.parse()?, &"billing".parse()?, Start::Earliest).await?;
        let (status, state) = self.judge(WINDOW).await?;
        assert_eq!((status.lag, state), (Some(0), GroupState::Empty));

        let publisher = self.client.publisher(&self.stream).await?;
        for receipt in publisher.publish_all((0..MESSAGES).map(|n| Message::new(n.to_string()))).await {
            receipt?;
        }
        let (status, state) = self.judge(WINDOW).await?;
        assert_eq!((status.lag, state), (Some(MESSAGES), GroupState::Stalled), "work, and nobody who does it");

        let (release, released) = oneshot::channel::<()>();
        let released = tokio::sync::Mutex::new(Some(released));
        let (times, mut handled) = mpsc::unbounded_channel();
        let handler = async |delivery: &Delivery| {
            let began = Instant::now();
            if delivery.payload_str()? == STUCK_AT
                && let Some(released) = released.lock().await.take()
            {
                // Resolves when the sender is dropped too.
                let _ = released.await;
            }
            tokio::time::sleep(WORK).await;
            let _ = times.send(began.elapsed());
            Ok::<_, zephcast::Error>(())
        };
        let (tell, mut stuck) = mpsc::unbounded_channel();
        let group =
            self.client.group(&self.stream, "billing").member("worker").lease(LEASE).prefetch(PREFETCH as usize);
        let group = group.on_event(move |member, event| {
            if let Event::Stuck { oldest } = event {
                println!("-- event: {member} has had a delivery for {oldest:.1?}");
                let _ = tell.send(member.clone());
            }
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let looks = async {
            let _stop = stop;
            self.look_while_it_works(&mut stuck, release).await?;
            self.look_until_it_is_through(&mut handled).await
        };
        let (report, looked) = tokio::join!(group.run(handler, async { drop(stopped.await) }), looks);
        // A group that failed is why there was nothing to see.
        let report = report?;
        looked?;
        assert_eq!((report.acked, report.lease_lost, report.clean), (MESSAGES, 0, true), "{report:?}");
        println!("the stuck message kept its lease and was handled once");
        Ok(())
    }

    async fn look_while_it_works(
        &self,
        stuck: &mut mpsc::UnboundedReceiver<zephcast::MemberName>,
        release: oneshot::Sender<()>,
    ) -> Result<(), Box<dyn Error>> {
        let (status, state) = self.judge(WINDOW).await?;
        assert_eq!(state, GroupState::Ok, "it catches up");
        assert!(status.lag < Some(MESSAGES), "{:?}", status.lag);
        // Acks that are on their way still count at the broker.
        assert!(status.in_flight <= Some(2 * PREFETCH), "in flight is bounded: {:?}", status.in_flight);
        assert_eq!((status.members.len(), status.members[0].state), (1, MemberState::Active));

        let member = stuck.recv().await.ok_or("no member was reported stuck")?;
        let (status, state) = self.judge(WINDOW).await?;
        assert_eq!(state, GroupState::Stuck);
        let worker =
            status.members.iter().find(|known| known.name == member).ok_or("the stuck member is not listed")?;
        assert_eq!(worker.state, MemberState::Stuck);
        assert!(worker.oldest_delivery > Some(LEASE), "{:?}", worker.oldest_delivery);
        assert!(status.oldest_pending > Some(LEASE), "{:?}", status.oldest_pending);

        println!("-- what it waited for is there");
        release.send(()).map_err(|()| "the handler is gone".into())
    }

    async fn look_until_it_is_through(
        &self,
        handled: &mut mpsc::UnboundedReceiver<Duration>,
    ) -> Result<(), Box<dyn Error>> {
        let mut times = Vec::new();
        while (times.len() as u64) < MESSAGES {
            times.push(handled.recv().await.ok_or("the group ended early")?);
        }
        times.sort();
        println!("processing times: median {:.0?}, longest {:.1?}", times[times.len() / 2], times[times.len() - 1]);
        // The last ack is written within milliseconds, the member's own report within a third of the lease.
        loop {
            let (status, state) = self.judge(WINDOW).await?;
            if state == GroupState::Ok && status.lag == Some(0) {
                assert_eq!(status.in_flight, Some(0));
                return Ok(());
            }
        }
    }

    /// Two looks, and what changed between them.
    async fn judge(&self, window: Duration) -> zephcast::Result<(GroupStatus, GroupState)> {
        let earlier = self.client.group_status(&self.stream, "billing").await?;
        tokio::time::sleep(window).await;
        let status = self.client.group_status(&self.stream, "billing").await?;
        let judgement = status.judge_since(&earlier);
        let rates = status.rates_since(&earlier);
        println!(
            "{}: lag {}, {} published and {} settled a second, in flight {}, oldest pending {} ({})",
            judgement.state.as_str(),
            shown(status.lag),
            shown(rates.published.map(f64::round)),
            shown(rates.settled.map(f64::round)),
            shown(status.in_flight),
            status.oldest_pending.map_or_else(|| "-".to_owned(), |age| format!("{age:.1?}")),
            judgement.evidence,
        );
        for member in &status.members {
            println!("  {}: {}, {} in flight", member.name, member.state.as_str(), shown(member.in_flight));
        }
        Ok((status, judgement.state))
    }
}

/// A figure that the broker cannot give is no 0.
fn shown(figure: Option<impl ToString>) -> String {
    figure.map_or_else(|| "?".to_owned(), |figure| figure.to_string())
}
