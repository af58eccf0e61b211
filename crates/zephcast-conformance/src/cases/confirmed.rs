//! D1: confirmed means stored.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use zephcast_core::{ErrorKind, Message, PublishError};

use crate::case::{Case, Checked, case, ensure};
use crate::lab::{Lab, number, numbers, sorted};

pub(super) const CASES: &[Case] = &[
    case!("D1", "what has a receipt is there", receipts),
    case!("D1", "a publish whose reply was lost is unknown and stored once", lost_reply),
    case!("D1", "a message that cannot be sent fails alone", bad_neighbour),
    case!("D1", "a message over the limit is refused at once", too_large, MaxPayload),
    case!("D1", "while the broker is away there is no receipt", away, Line),
];

/// However it was published, a message with a receipt is delivered, and no two have the same id.
async fn receipts(lab: Lab) -> Checked {
    let (writer, reader) = (lab.process().await?, lab.process().await?);
    let mut consumer = lab.join(&reader).await?;
    let publisher = lab.publisher(&writer).await?;
    let mut ids = BTreeSet::new();
    for n in 0..20 {
        ids.insert(lab.within("a receipt", publisher.publish(n.to_string())).await??.id);
    }
    let batch: Vec<Message> = (20..120).map(|n| n.to_string().into()).collect();
    for receipt in lab.within("receipts", publisher.publish_all(batch)).await? {
        ids.insert(receipt?.id);
    }
    let mut pending = Vec::new();
    for n in 120..220 {
        pending.push(lab.within("room", publisher.enqueue(n.to_string())).await??);
    }
    lab.within("the flush", publisher.flush()).await?;
    for receipt in lab.within("receipts", join_all(pending)).await? {
        ids.insert(receipt?.id);
    }
    ensure!(ids.len() == 220, "220 messages have {} ids", ids.len());
    let taken = lab.take(&mut consumer, 220).await?;
    ensure!(sorted(numbers(&taken)?) == (0..220).collect::<Vec<_>>(), "not each of 220 came once");
    let delivered: BTreeSet<_> = taken.iter().filter_map(|delivery| delivery.id().cloned()).collect();
    ensure!(delivered == ids, "the ids of the deliveries are not those of the receipts");
    Ok(())
}

/// A lost reply is `Unknown`, never `Failed` and never a receipt; the message is not sent a second time unasked.
async fn lost_reply(lab: Lab) -> Checked {
    let (writer, reader) = (lab.process().await?, lab.process().await?);
    let mut consumer = lab.join(&reader).await?;
    let publisher = lab.publisher(&writer).await?;
    writer.seam().lose_publish_replies(1);
    let outcome = lab.within("an answer", publisher.publish("0")).await?;
    ensure!(matches!(outcome, Err(PublishError::Unknown(_))), "a lost reply is {outcome:?}");
    lab.within("a receipt", publisher.publish("1")).await??;
    let taken = lab.take_acked(&mut consumer, 2).await?;
    ensure!(sorted(taken.clone()) == [0, 1], "0 and 1 once each, not {taken:?}");
    lab.quiet(&mut consumer, Duration::from_millis(200), "each was published once").await
}

/// A header that only zephcast may set is refused, and the messages before and after it are stored.
async fn bad_neighbour(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let publisher = lab.publisher(&process).await?;
    let forged = Message::new("1").with_header(format!("{}attempts", zephcast_core::RESERVED_PREFIX), "0");
    let batch = vec![Message::new("0"), forged, Message::new("2")];
    let outcomes = lab.within("answers", publisher.publish_all(batch)).await?;
    ensure!(outcomes.len() == 3, "{} answers for 3 messages", outcomes.len());
    ensure!(outcomes[0].is_ok() && outcomes[2].is_ok(), "the neighbours failed: {outcomes:?}");
    let failure = outcomes[1].as_ref().err();
    let certain = failure.is_some_and(|error| !error.is_unknown() && error.kind() == ErrorKind::InvalidInput);
    ensure!(certain, "a forged header leads to {failure:?}");
    let taken = lab.take_acked(&mut consumer, 2).await?;
    ensure!(sorted(taken.clone()) == [0, 2], "0 and 2, not {taken:?}");
    Ok(())
}

/// Beyond the limit nothing is sent, and the next message goes through.
async fn too_large(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let publisher = lab.publisher(&process).await?;
    let limit = process.capabilities().max_payload.unwrap_or_default();
    // Zeroed pages that nobody touches cost nothing, as long as the limit is looked at first.
    let outcome = lab.within("an answer", publisher.publish(vec![0; limit + 1])).await?;
    let refused =
        outcome.as_ref().err().is_some_and(|error| !error.is_unknown() && error.kind() == ErrorKind::TooLarge);
    ensure!(refused, "{} bytes lead to {outcome:?}", limit + 1);
    lab.within("a receipt", publisher.publish("0")).await??;
    let next = lab.next(&mut consumer, "the message after it").await?;
    ensure!(number(&next)? == 0, "something else came");
    Ok(())
}

/// With the connection cut a publish ends within its timeout with an error; what has a receipt comes, once it is back.
async fn away(lab: Lab) -> Checked {
    let (writer, line) = lab.process_over_line().await?;
    let reader = lab.process().await?;
    let mut consumer = lab.join(&reader).await?;
    let builder = writer.publisher(lab.stream().as_str()).timeout(Duration::from_secs(1));
    let publisher = lab.within("a publisher", builder.into_future()).await??;
    lab.within("a receipt", publisher.publish("0")).await??;
    line.cut().await;
    let outcome = lab.within("an answer", publisher.publish("1")).await?;
    ensure!(outcome.is_err(), "a receipt from a broker that is away: {outcome:?}");
    line.mend().await;
    let receipt = async {
        while publisher.publish("2").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    lab.within("a receipt after the line was mended", receipt).await?;
    let mut seen = BTreeSet::new();
    while !seen.contains(&2) {
        seen.insert(number(&lab.next(&mut consumer, "what has a receipt").await?)?);
    }
    ensure!(seen.contains(&0), "the message with a receipt did not come");
    Ok(())
}
