//! D7: bytes are exact.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use zephcast_core::{ErrorKind, Headers, Message, MessageId, Verdict};

use crate::case::{Broken, Case, Checked, case, ensure};
use crate::lab::{GROUP, Lab};

pub(super) const CASES: &[Case] = &[
    case!("D7", "payload, key, headers and id arrive byte for byte", exact),
    case!("D7", "bytes are exact after a later redelivery and in a dead letter", exact_again),
    case!("D7", "what a broker cannot carry is refused before anything is sent", not_carried),
];

/// Every kind of message that every broker can carry.
fn samples() -> Vec<Message> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut large = vec![0_u8; 300_000];
    large.iter_mut().enumerate().for_each(|(n, byte)| *byte = (n.wrapping_mul(31) >> 3) as u8);
    vec![
        Message::new(""),
        Message::new("text"),
        Message::new(every_byte.clone()),
        Message::new(large),
        Message::new("\r\n*1\r\n$4\r\nPING\r\n"),
        Message::new("an empty key").with_key(""),
        Message::new("a binary key").with_key(every_byte[128..].to_vec()),
        Message::new("values")
            .with_header("empty", "")
            .with_header("binary", every_byte)
            .with_header("not-utf-8", vec![0xff, 0xfe, 0x00])
            .with_header("größe", "a name that is not ASCII")
            .with_header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]
    .into_iter()
    .enumerate()
    .map(|(n, message)| message.with_id(MessageId::new(format!("sample-{n}"))))
    .collect()
}

/// Delivered as published.
async fn exact(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    publish(&lab, &process, samples()).await?;
    let mut expected = by_id(samples());
    for delivery in lab.take(&mut consumer, samples().len()).await? {
        compare(&mut expected, &delivery)?;
        delivery.ack()?;
    }
    Ok(())
}

/// Postponed, delivered again, rejected, and read as a dead letter: still as published.
async fn exact_again(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    publish(&lab, &process, samples()).await?;
    let count = samples().len();
    for delivery in lab.take(&mut consumer, count).await? {
        delivery.nack_after(Duration::from_millis(50))?;
    }
    let mut expected = by_id(samples());
    for delivery in lab.take(&mut consumer, count).await? {
        compare(&mut expected, &delivery)?;
        lab.within("the dead letter", delivery.settle_confirmed(Verdict::Reject("looked at".into()))).await??;
    }
    let letters = process.admin().dead_letters(lab.stream(), &lab.group()?, None, 100).await?;
    let mut expected = by_id(samples());
    ensure!(letters.len() == count, "{count} were rejected, {} are dead letters", letters.len());
    for letter in letters {
        compare(&mut expected, &letter.message)?;
    }
    lab.until_done(&process, GROUP).await.map(drop)
}

/// Either it arrives exactly, or it fails alone as `InvalidInput`.
async fn not_carried(lab: Lab) -> Checked {
    let process = lab.process().await?;
    let mut consumer = lab.join(&process).await?;
    let publisher = lab.publisher(&process).await?;
    let mut null = Headers::new();
    null.append_null("null");
    let odd = [
        ("a null payload", Message::without_payload()),
        ("a null header", Message::new("x").with_headers(null)),
        ("a header twice", Message::new("x").with_header("twice", "1").with_header("twice", "2")),
        ("a binary header name", Message::new("x").with_header(vec![0xff, 0x00], "1")),
        ("an empty header name", Message::new("x").with_header("", "1")),
        ("a header name of two lines", Message::new("x").with_header("a\r\nb", "1")),
        ("a long key", Message::new("x").with_key(vec![b'k'; 300])),
        ("a header named as some brokers' payload", Message::new("x").with_header("data", "y").with_header("key", "z")),
    ];
    for (n, (what, message)) in odd.into_iter().enumerate() {
        let id = |part: &str| MessageId::new(format!("{part}-{n}"));
        let message = message.with_id(id("odd"));
        let batch = vec![
            Message::new("before").with_id(id("before")),
            message.clone(),
            Message::new("after").with_id(id("after")),
        ];
        let outcomes = lab.within("answers", publisher.publish_all(batch)).await?;
        ensure!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{what} spoilt its neighbours: {outcomes:?}");
        let mut expected =
            by_id(vec![Message::new("before").with_id(id("before")), Message::new("after").with_id(id("after"))]);
        match &outcomes[1] {
            Ok(_) => drop(expected.insert(format!("odd-{n}"), message)),
            Err(error) => {
                let refused = !error.is_unknown() && error.kind() == ErrorKind::InvalidInput;
                ensure!(refused, "{what} is refused as {error:?}, not as InvalidInput");
            }
        }
        while !expected.is_empty() {
            let delivery = lab.next(&mut consumer, &format!("{what} and its neighbours")).await?;
            compare(&mut expected, &delivery)?;
            delivery.ack()?;
        }
    }
    Ok(())
}

async fn publish(lab: &Lab, process: &crate::Process, messages: Vec<Message>) -> Checked {
    let publisher = lab.publisher(process).await?;
    for receipt in lab.within("receipts", publisher.publish_all(messages)).await? {
        receipt?;
    }
    Ok(())
}

fn by_id(messages: Vec<Message>) -> BTreeMap<String, Message> {
    let id = |message: &Message| message.id().map(ToString::to_string).unwrap_or_default();
    messages.into_iter().map(|message| (id(&message), message)).collect()
}

/// Takes the message's original out of those expected, and compares.
fn compare(expected: &mut BTreeMap<String, Message>, got: &Message) -> Checked {
    let id = got.id().map(ToString::to_string).unwrap_or_default();
    let Some(sent) = expected.remove(&id) else {
        return Err(Broken::new(format!("{id:?} was not expected, or came twice")));
    };
    ensure!(got.has_payload() == sent.has_payload(), "{id}: absent and empty payloads are confused");
    ensure!(got.payload() == sent.payload(), "{id}: the payload differs: {} bytes", got.payload().len());
    ensure!(got.key() == sent.key(), "{id}: the key is {:?}, not {:?}", got.key(), sent.key());
    let (got, sent) = (sorted(got.headers()), sorted(sent.headers()));
    ensure!(got == sent, "{id}: the headers are {got:?}, not {sent:?}");
    Ok(())
}

/// Not every broker keeps the order of different names; values of one name keep theirs.
fn sorted(headers: &Headers) -> Vec<(Bytes, Option<Bytes>)> {
    let mut all: Vec<_> = headers.clone().into_iter().collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}
