//! M4 under a storm: many members that join and leave all the time.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::History;
use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab};

pub(super) const CASES: &[Case] =
    &[case!("M4", "twenty members that come and go lose nothing and repeat nothing", come_and_go)];

const MESSAGES: usize = 240;

/// Each of twenty joins, takes four, leaves cleanly and joins again, while messages are published, until all of them are
/// handled: there is progress, and nothing is left or comes again.
async fn come_and_go(lab: Lab) -> Checked {
    let processes = [lab.process().await?, lab.process().await?];
    drop(lab.join(&processes[0]).await?);
    let (history, handled) = (History::new("storm"), watch::Sender::new(0));
    let lives = (0..20).map(|n| {
        let (lab, process, history, handled) = (&lab, &processes[n % 2], &history, &handled);
        async move {
            let mut count = handled.subscribe();
            while *handled.borrow() < MESSAGES {
                let mut consumer =
                    lab.member(process, GROUP).prefetch(8).drain(Duration::from_secs(10)).start().await?;
                for _ in 0..4 {
                    let next = tokio::select! {
                        next = consumer.next() => next.ok_or_else(|| Broken::new("a member ended in the storm"))??,
                        _ = count.wait_for(|count| *count >= MESSAGES) => break,
                    };
                    history.delivered(next.member().as_str(), next.payload());
                    next.ack()?;
                    handled.send_modify(|count| *count += 1);
                }
                let report = consumer.close(Duration::from_secs(10)).await?;
                ensure!(report.clean, "a clean leave was not: {report:?}");
            }
            Checked::Ok(())
        }
    });
    let publish = async {
        for _ in 0..MESSAGES / 20 {
            lab.publish_history(&processes[0], &history, 20).await?;
        }
        Checked::Ok(())
    };
    let storm = async { tokio::join!(join_all(lives), publish) };
    let (lives, published) = lab
        .within("the storm to pass", storm)
        .await
        .map_err(|broken| Broken::new(format!("{broken}: {}", history.findings())))?;
    published?;
    lives.into_iter().collect::<Checked<Vec<()>>>()?;
    lab.work(&mut [lab.join(&processes[1]).await?], &history).await?;
    history.findings().exactly_once()?;
    lab.until_done(&processes[0], GROUP).await.map(drop)
}
