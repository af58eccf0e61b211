use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::partition::offset;
use crate::simulation::Lab;

/// The library drops its place then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_in_the_log_is_kept_when_a_fetch_of_it_is_refused() {
    let mut lab = Lab::new();
    let (mut next, mut in_flight) = (0, Vec::new());
    for _ in 0..3 {
        let last = lab.publish(50).await;
        let tokens = lab.consume(last).await;
        let offsets: Vec<_> = tokens.iter().map(|token| offset(*token)).collect();
        assert_eq!(offsets, (next..=last).collect::<Vec<_>>(), "each once, in order");
        lab.ack(&std::mem::replace(&mut in_flight, tokens));
        next = last + 1;
        lab.cluster.request_errors(RDKafkaApiKey::Fetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE]);
    }
}
