//! Messages on their way when whoever published them goes.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use zephcast_core::Message;
use zephcast_core::driver::Driver as _;
use zephcast_kafka::KafkaDriver;

use crate::lab::{Lab, PATIENCE, config, next};

/// Nothing is sent before so much time, unless somebody flushes.
const LINGER: Duration = Duration::from_secs(1);
const COUNT: usize = 1_000;

/// Dropping the Rust client's producer purges what is queued and in flight (`BaseProducer::drop`, rdkafka 0.39,
/// `producer/base_producer.rs`), without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_when_everything_is_dropped_is_stored() {
    let lab = Lab::new(1).await;
    let mut consumer = lab.join().await;
    let driver = KafkaDriver::connect(config().linger(LINGER)).await.unwrap();
    let sink = driver.open_sink(&lab.stream.parse().unwrap(), false).await.unwrap();
    let batch: Vec<_> = (0..COUNT).map(|number| Message::new(number.to_string())).collect();
    {
        let mut call = pin!(sink.publish(&batch));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    drop((sink, driver));
    for number in 0..COUNT {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.payload_str().unwrap(), number.to_string());
        delivery.ack().unwrap();
    }
    assert!(consumer.close(PATIENCE).await.unwrap().clean);
}
