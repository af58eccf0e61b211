//! V1 to V4: what can be seen, and what must not be.

use std::time::Duration;

use zephcast_core::{ErrorKind, GroupState, Message, Retry, Verdict};

use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab};

pub(super) const CASES: &[Case] = &[
    case!("V1", "status tells lag, in flight, delayed, dead letters and members", status),
    case!("V1", "the status of what does not exist is not found, by name", not_found),
    case!("V1", "streams and their groups are listed", listed),
    case!("V1", "two looks tell how much was published and settled a second", rates),
    case!("V2", "health is judged by progress: empty, ok, stalled, stuck", judged),
    case!("V3", "the trace context is carried through retry and dead letter", trace_context),
    case!("V4", "payloads, keys and header values are in no Debug", no_payload),
    case!("V4", "a refused secret is in no error", no_secret, WrongCredentials),
];

/// The figures at each step of a message's life.
async fn status(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.member(&process, GROUP).prefetch(4).start().await?;
    let fresh = process.group_status(lab.stream().as_str(), GROUP).await?;
    ensure!(fresh.lag == Some(0), "a new group's lag is {:?}", fresh.lag);
    lab.publish(&process, 0..10).await?;
    let mut held = lab.take(&mut consumer, 4).await?;
    let seen = lab
        .until_status(&process, GROUP, "lag 10, 4 in flight", |s| s.lag == Some(10) && s.in_flight == Some(4))
        .await?;
    ensure!(seen.stream == *lab.stream() && seen.group.as_str() == GROUP, "status of {} {}", seen.stream, seen.group);
    ensure!(seen.broker == process.capabilities().broker, "status of broker {}", seen.broker);
    ensure!(seen.oldest_pending.is_some(), "4 are in flight, and the oldest is unknown");
    let member = seen.members.iter().find(|member| member.name == *consumer.member());
    let Some(member) = member else { return Err(Broken::new(format!("no member {}: {seen:?}", consumer.member()))) };
    ensure!(member.in_flight == Some(4), "the member has {:?} in flight, not 4", member.in_flight);
    ensure!(!seen.units.is_empty(), "no unit is shown");
    let (a, b) = (held.remove(0), held.remove(0));
    lab.within("the schedule", a.settle_confirmed(Verdict::NackAfter(Duration::from_secs(600)))).await??;
    lab.within("the dead letter", b.settle_confirmed(Verdict::Reject("no".into()))).await??;
    for delivery in held {
        delivery.ack()?;
    }
    lab.take_acked(&mut consumer, 6).await?;
    lab.until_status(&process, GROUP, "lag 1 delayed 1 dead letters 1", |status| {
        (status.lag, status.in_flight, status.delayed, status.dead_letters) == (Some(1), Some(0), Some(1), Some(1))
    })
    .await
    .map(drop)
}

/// What happened between two looks, by the looks' own clock.
async fn rates(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.member(&process, GROUP).start().await?;
    lab.publish(&process, 0..4).await?;
    let earlier = process.group_status(lab.stream().as_str(), GROUP).await?;
    ensure!(earlier.rates_since(&earlier).settled.is_none(), "a rate without time");
    lab.publish(&process, 4..10).await?;
    lab.take_acked(&mut consumer, 10).await?;
    let now = lab.until_status(&process, GROUP, "lag 0", |status| status.lag == Some(0)).await?;
    let (rates, seconds) = (now.rates_since(&earlier), (now.looked_at - earlier.looked_at).as_secs_f64());
    if earlier.published.is_none() {
        ensure!(rates.published.is_none() && rates.settled.is_none(), "rates of what is not counted: {rates:?}");
        return Ok(());
    }
    let counts =
        (rates.published.map(|rate| (rate * seconds).round()), rates.settled.map(|rate| (rate * seconds).round()));
    ensure!(counts == (Some(6.0), Some(10.0)), "6 published and 10 settled, counted as {counts:?}");
    Ok(())
}

/// Which of the two is missing is said.
async fn not_found(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let missing = process.group_status("no-such-stream-anywhere", "some-group").await;
    let said =
        |error: &zephcast_core::Error, name| error.kind() == ErrorKind::NotFound && error.to_string().contains(name);
    ensure!(missing.as_ref().is_err_and(|e| said(e, "no-such-stream-anywhere")), "a missing stream is {missing:?}");
    drop(lab.join(&process).await?);
    let missing = process.group_status(lab.stream().as_str(), "no-such-group").await;
    ensure!(missing.as_ref().is_err_and(|e| said(e, "no-such-group")), "a missing group is {missing:?}");
    Ok(())
}

/// Our stream is among all, with its groups.
async fn listed(lab: Lab) -> Checked {
    let process = lab.process().await?;
    drop(lab.member(&process, "one").start().await?);
    drop(lab.member(&process, "two").start().await?);
    lab.publish(&process, 0..1).await?;
    let all = process.admin().streams().await?;
    let Some(ours) = all.iter().find(|status| status.stream == *lab.stream()) else {
        return Err(Broken::new(format!("{} is not among {} streams", lab.stream(), all.len())));
    };
    let mut groups: Vec<_> = ours.groups.iter().flatten().map(ToString::to_string).collect();
    groups.sort();
    ensure!(groups == ["one", "two"], "its groups are {groups:?}");
    let alone = process.admin().stream(lab.stream()).await?;
    let has_both = alone.groups.as_ref().is_some_and(|groups| groups.len() == 2);
    ensure!(has_both && alone.depth.is_none_or(|depth| depth == 1), "by itself it is {alone:?}");
    Ok(())
}

/// The same look at each stage; a stalled group needs two.
async fn judged(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let look = async || process.group_status(lab.stream().as_str(), GROUP).await;
    // Once the broker knows its member.
    lab.until_status(&process, GROUP, "ok", |idle| idle.judge().state == GroupState::Ok).await?;
    lab.publish(&process, 0..10).await?;
    let held = lab.take(&mut consumer, 10).await?;
    let before = look().await?;
    let stalled = look().await?.judge_since(&before);
    ensure!(stalled.state == GroupState::Stalled, "work and no progress is {stalled:?}");
    lab.until_status(&process, GROUP, "stuck", |status| status.judge().state == GroupState::Stuck).await?;
    let mut held = held.into_iter();
    held.by_ref().take(5).try_for_each(zephcast_core::Delivery::ack)?;
    lab.within("the commit", consumer.commit()).await??;
    let behind = look().await?;
    held.try_for_each(zephcast_core::Delivery::ack)?;
    lab.within("the commit", consumer.commit()).await??;
    let done = lab.until_done(&process, GROUP).await?;
    ensure!(done.lag < behind.lag, "the lag did not sink");
    lab.until_status(&process, GROUP, "ok", |status| status.judge_since(&behind).state == GroupState::Ok).await?;
    lab.within("closing", consumer.close(Duration::from_secs(5))).await??;
    lab.until_status(&process, GROUP, "empty", |status| status.judge().state == GroupState::Empty).await.map(drop)
}

/// W3C names, byte for byte, at each attempt and at the end; once each.
async fn trace_context(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let retry = Retry::exponential(Duration::from_millis(20)).max_attempts(2);
    let mut consumer = lab.member(&process, GROUP).retry(retry).start().await?;
    let headers = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=opaque"),
        ("baggage", "user=7"),
    ];
    let message = headers.iter().fold(Message::new("x"), |message, (name, value)| message.with_header(*name, *value));
    lab.within("a receipt", lab.publisher(&process).await?.publish(message)).await??;
    let carried = |message: &Message, when: &str| {
        for (name, value) in headers {
            ensure!(message.headers().first_str(name) == Some(value), "{name} is gone {when}");
        }
        ensure!(message.headers().len() == 3, "{when} the headers are {:?}", message.headers());
        Checked::Ok(())
    };
    for attempt in 1..=2 {
        let delivery = lab.next(&mut consumer, &format!("attempt {attempt}")).await?;
        carried(&delivery, &format!("at attempt {attempt}"))?;
        lab.within("the settlement", delivery.settle_confirmed(Verdict::Fail("on purpose".into()))).await??;
    }
    let letters = process.admin().dead_letters(lab.stream(), &lab.group()?, None, 10).await?;
    ensure!(letters.len() == 1, "one dead letter, not {}", letters.len());
    carried(&letters[0].message, "in the dead letter")
}

/// Whatever can be printed, by accident or on purpose.
async fn no_payload(lab: Lab) -> Checked {
    const CANARY: &str = "canary-7f3a";
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let publisher = lab.publisher(&process).await?;
    let message = Message::new(CANARY).with_key(CANARY).with_header("authorization", CANARY);
    let mut shown = vec![format!("{message:?} {publisher:?} {:?}", *process)];
    let pending = lab.within("room", publisher.enqueue(message.clone())).await??;
    shown.push(format!("{pending:?}"));
    shown.push(format!("{:?}", lab.within("a receipt", pending).await??));
    let delivery = lab.next(&mut consumer, "the message").await?;
    shown.push(format!("{delivery:?} {consumer:?} {:?}", delivery.headers()));
    let forged = message.with_header(format!("{}x", zephcast_core::RESERVED_PREFIX), CANARY);
    let refused = lab.within("an answer", publisher.publish(forged)).await?;
    shown.push(format!("{refused:?} {}", refused.as_ref().err().map(ToString::to_string).unwrap_or_default()));
    lab.within("the dead letter", delivery.settle_confirmed(Verdict::Reject("no".into()))).await??;
    let letters = process.admin().dead_letters(lab.stream(), &lab.group()?, None, 1).await?;
    shown.push(format!("{letters:?} {:?}", process.group_status(lab.stream().as_str(), GROUP).await?));
    match shown.iter().find(|text| text.contains(CANARY)) {
        Some(text) => Err(Broken::new(format!("shows what is confidential: {text}"))),
        None => Ok(()),
    }
}

/// Neither the error, nor its causes, in either form.
async fn no_secret(lab: Lab) -> Checked {
    let secret = "zc-canary-51d7";
    let error = lab.within("the refusal", lab.harness().connect_with_secret(secret)).await?;
    let Some(error) = error else { return Err(Broken::new("let in with a wrong secret")) };
    let mut shown = format!("{error} {error:?} {error:#?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        shown.push_str(&format!(" {next} {next:?}"));
        cause = next.source();
    }
    ensure!(!shown.contains(secret), "the secret is shown: {}", shown.replace(secret, "(the secret)"));
    Ok(())
}
