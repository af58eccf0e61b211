//! S3 for the client: closing it many times, at once, and without a broker.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use zephcast_core::ErrorKind;

use crate::case::{Case, Checked, case, ensure};
use crate::lab::{Lab, numbers, sorted};

pub(super) const CASES: &[Case] = &[
    case!("S3", "closing a client ten times at once waits for its publishers once", at_once),
    case!("S3", "closing a client and its consumers ends in time while the broker is away or silent", without_broker),
];

const TIMES: usize = 10;

/// Nobody is done before the last answer is there, and all are done then; closing once more is nothing new.
async fn at_once(lab: Lab) -> Checked {
    let (process, reader) = (lab.process().await?, lab.process().await?);
    let mut consumer = lab.join(&reader).await?;
    let publisher = lab.publisher(&process).await?;
    process.seam().hold_publishes(true);
    let mut waiting = Vec::new();
    for n in 0..8 {
        waiting.push(lab.within("room", publisher.enqueue(n.to_string())).await??);
    }
    let closing = join_all((0..TIMES).map(|_| process.close(Duration::from_secs(10))));
    let let_go = async {
        // Only after all began, so that one which waits for nothing is too early.
        tokio::task::yield_now().await;
        process.seam().hold_publishes(false);
    };
    let (closed, ()) = tokio::join!(lab.within("ten closings", closing), let_go);
    closed?.into_iter().collect::<Result<Vec<()>, _>>()?;
    for receipt in waiting {
        lab.within("the answer", receipt).await??;
    }
    lab.within("one more closing", process.close(Duration::from_secs(10))).await??;
    let late = lab.within("an answer", publisher.publish("late")).await?;
    let refused = late.as_ref().is_err_and(|error| error.kind() == ErrorKind::Closed && !error.is_unknown());
    ensure!(refused, "a closed client's publish is {late:?}");
    let taken = lab.take(&mut consumer, 8).await?;
    ensure!(sorted(numbers(&taken)?) == (0..8).collect::<Vec<_>>(), "not each of 8 came once");
    lab.quiet(&mut consumer, Duration::from_millis(200), "each came").await
}

/// Every consumer and ten closings of their client, all at once, whether calls fail or nobody answers them.
async fn without_broker(lab: Lab) -> Checked {
    for silent in [false, true] {
        let process = lab.process().await?;
        let publisher = lab.publisher(&process).await?;
        let mut consumers = Vec::new();
        for _ in 0..4 {
            consumers.push(lab.join(&process).await?);
        }
        match silent {
            true => process.seam().freeze(),
            false => process.seam().away(),
        }
        let waiting = lab.within("room", publisher.enqueue("0")).await??;
        let (deadline, began) = (Duration::from_millis(600), Instant::now());
        let leaving = join_all(consumers.into_iter().map(|consumer| consumer.close(deadline)));
        let closing = join_all((0..TIMES).map(|_| process.close(deadline)));
        let all = async { tokio::join!(leaving, closing) };
        let (left, closed) = lab.within("closing everything", all).await?;
        let took = began.elapsed();
        ensure!(took < deadline + Duration::from_secs(1), "closing took {took:?} with a deadline of {deadline:?}");
        for report in left {
            let report = report?;
            ensure!(!report.clean, "nobody was told that the member leaves, and yet {report:?}");
        }
        for outcome in closed {
            let kind = outcome.as_ref().err().map(zephcast_core::Error::kind);
            let typed = matches!(kind, None | Some(ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Closed));
            ensure!(typed, "closing without a broker is {outcome:?}");
        }
        // Whoever waits for an answer gets one from the thawed or lost broker, or hears that nobody answers.
        process.seam().thaw();
        drop(lab.within("the answer", waiting).await?);
    }
    Ok(())
}
