use std::ffi::CStr;
use std::time::Instant;

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::{Offset, TopicPartitionList};

use super::*;

impl<C: ProducerContext> Native<C> {
    /// Makes the library give this producer up.
    pub(crate) fn fail(&self) {
        // SAFETY: the producer lives, and the text is copied.
        unsafe {
            sys::rd_kafka_test_fatal_error(
                self.producer.client().native_ptr(),
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
                c"told to by a test".as_ptr(),
            );
        }
    }
}

#[derive(Default)]
struct Tags(Mutex<Vec<usize>>);

impl ClientContext for Tags {}

impl ProducerContext for Tags {
    type DeliveryOpaque = usize;

    fn delivery(&self, _: &DeliveryResult<'_>, tag: usize) {
        self.0.lock().unwrap().push(tag);
    }
}

fn headers(message: &BorrowedMessage<'_>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut raw = ptr::null_mut();
    // SAFETY: the message is borrowed, what is read of it is copied before it goes.
    unsafe {
        if sys::rd_kafka_message_headers(message.ptr(), &mut raw)
            != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return found;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        while sys::rd_kafka_header_get_all(raw, found.len(), &mut name, &mut value, &mut size)
            == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            let bytes = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size).to_vec());
            found.push((CStr::from_ptr(name).to_bytes().to_vec(), bytes));
        }
    }
    found
}

#[test]
fn headers_of_any_bytes_arrive_as_they_are() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("any", 1, 1).unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "any");
    let native = Native::new(&config, Tags::default()).unwrap();
    let expected: Vec<(&[u8], Option<&[u8]>)> = vec![
        (b"\xff\xfe", Some(b"\0\xff")),
        (b"twice", Some(b"1")),
        (b"twice", None),
        (b"", Some(b"")),
        (b"\xc3", Some(b"half a letter")),
    ];
    let mut raw = RawHeaders::with_room(1).unwrap();
    for (name, value) in &expected {
        raw.add(name, *value).unwrap();
    }
    assert_eq!(raw.add(b"a\0", None), Err(Code::InvalidArgument));
    let topic = native.topic("any").unwrap();
    let record = Record { partition: Some(0), payload: None, key: Some(b""), headers: Some(raw) };
    topic.produce(record, usize::MAX).unwrap();
    let began = Instant::now();
    while native.producer().context().0.lock().unwrap().is_empty() && began.elapsed() < Duration::from_secs(10) {
        native.producer().poll(Duration::from_millis(10));
    }
    assert_eq!(*native.producer().context().0.lock().unwrap(), [usize::MAX]);

    let consumer: BaseConsumer = config.create().unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset("any", 0, Offset::Beginning).unwrap();
    consumer.assign(&from).unwrap();
    let message = consumer.poll(Duration::from_secs(10)).expect("a message").unwrap();
    assert_eq!((message.payload(), message.key()), (None, Some(&b""[..])));
    let found = headers(&message);
    let found: Vec<_> = found.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_not_put_in_keeps_nothing() {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", "127.0.0.1:1").set("queue.buffering.max.messages", "1");
    let native = Native::new(&config, Tags::default()).unwrap();
    let topic = native.topic("any").unwrap();
    let record = || {
        let mut raw = RawHeaders::with_room(1).unwrap();
        raw.add(b"name", Some(b"value")).unwrap();
        Record { partition: None, payload: Some(b"x"), key: None, headers: Some(raw) }
    };
    topic.produce(record(), 0).unwrap();
    assert_eq!(topic.produce(record(), 1), Err(Code::QueueFull));
    assert!(native.topic("a\0b").is_err());
    assert!(!native.flush(Duration::ZERO));
}
