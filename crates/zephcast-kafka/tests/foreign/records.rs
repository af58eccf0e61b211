//! Records in all their shapes, both ways.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use integration_tests::kafka_server::Listener;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use tokio::io::AsyncWriteExt;
use zephcast_core::{Delivery, Message};

use crate::lab::{Lab, PATIENCE, next};

/// Key, payload and headers, as they came.
type Shape = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn shape(delivery: &Delivery) -> Shape {
    let message: &Message = delivery;
    let headers = message.headers().iter().map(|(name, value)| (name.to_vec(), value.map(|value| value.to_vec())));
    let payload = message.has_payload().then(|| message.payload().to_vec());
    (message.key().map(|key| key.to_vec()), payload, headers.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_plain_programs_are_delivered_as_they_are() {
    let lab = Lab::new(&[]).await;
    let producer = lab.producer();
    let binary: &[u8] = &[0, 0xff, 0xfe, b'\n', 0x80];
    let headers = OwnedHeaders::new()
        .insert(Header { key: "twice", value: Some("one") })
        .insert(Header { key: "twice", value: Some("two") })
        .insert::<str>(Header { key: "null", value: None })
        .insert(Header { key: "empty", value: Some("") })
        .insert(Header { key: "", value: Some(binary) });
    let records: [FutureRecord<'_, [u8], [u8]>; 6] = [
        FutureRecord::to(&lab.stream).key(&b"deleted"[..]),
        FutureRecord::to(&lab.stream).payload(&b"no key"[..]),
        FutureRecord::to(&lab.stream).key(&b""[..]).payload(&b""[..]),
        FutureRecord::to(&lab.stream).key(binary).payload(binary),
        FutureRecord::to(&lab.stream).payload(&b"headers"[..]).headers(headers),
        FutureRecord::to(&lab.stream),
    ];
    for record in records {
        producer.send(record, PATIENCE).await.unwrap();
    }
    let some = |bytes: &[u8]| Some(bytes.to_vec());
    let listed = vec![
        (b"twice".to_vec(), some(b"one")),
        (b"twice".to_vec(), some(b"two")),
        (b"null".to_vec(), None),
        (b"empty".to_vec(), some(b"")),
        (b"".to_vec(), some(binary)),
    ];
    let wanted: [Shape; 6] = [
        (some(b"deleted"), None, vec![]),
        (None, some(b"no key"), vec![]),
        (some(b""), some(b""), vec![]),
        (some(binary), some(binary), vec![]),
        (None, some(b"headers"), listed),
        (None, None, vec![]),
    ];
    let mut consumer = lab.join().await;
    for wanted in wanted {
        let delivery = next(&mut consumer).await;
        assert_eq!(shape(&delivery), wanted);
        delivery.ack().unwrap();
    }
    lab.no_lag().await;
    assert!(consumer.close(PATIENCE).await.unwrap().clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_name_that_is_no_text_is_not_poison() {
    let lab = Lab::new(&[]).await;
    let names: [&[u8]; 3] = [b"\xff\xfe", b"caf\xc3\xa9", b"cut\xc3"];
    let mut command = tokio::process::Command::new("kcat");
    command.args(["-b", &lab.server.bootstrap(Listener::Plain), "-P", "-t", &lab.stream]);
    for name in names {
        command.arg("-H").arg(OsStr::from_bytes(&[name, b"=value\xff"].concat()));
    }
    let mut kcat = command.stdin(Stdio::piped()).kill_on_drop(true).spawn().expect("kcat is installed");
    kcat.stdin.take().unwrap().write_all(b"odd\n").await.unwrap();
    assert!(kcat.wait().await.unwrap().success());
    lab.produce("", "after").await;

    let mut consumer = lab.join().await;
    let odd = next(&mut consumer).await;
    let wanted = names.map(|name| (name.to_vec(), Some(b"value\xff".to_vec())));
    assert_eq!(shape(&odd), (None, Some(b"odd".to_vec()), wanted.to_vec()));
    odd.ack().unwrap();
    let after = next(&mut consumer).await;
    assert_eq!(after.payload_str().unwrap(), "after");
    after.ack().unwrap();
    lab.no_lag().await;
    assert!(consumer.close(PATIENCE).await.unwrap().clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat_reads_what_was_published_here() {
    let lab = Lab::new(&[]).await;
    let publisher = lab.client.publisher(&lab.stream).await.unwrap();
    let message = Message::new("two apples").with_key("customer-7").with_header("kind", "fruit");
    publisher.publish(message.with_header("kind", "red")).await.unwrap();
    publisher.publish(Message::without_payload().with_key("gone")).await.unwrap();
    let read = ["-C", "-t", &lab.stream, "-o", "beginning", "-e", "-q", "-f", "%k|%K|%s|%S|%h\n"];
    let read = lab.server.kcat(&read).await.unwrap();
    let lines: Vec<&str> = read.lines().collect();
    assert_eq!(lines.len(), 2, "{read}");
    assert!(lines[0].starts_with("customer-7|10|two apples|10|"), "{read}");
    assert!(lines[0].contains("kind=fruit,kind=red"), "{read}");
    assert!(lines[1].starts_with("gone|4||-1|"), "{read}");
}
