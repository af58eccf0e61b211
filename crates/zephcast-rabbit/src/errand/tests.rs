//! On a real server: what is refused costs nobody else anything, however often.

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use super::*;
use crate::RabbitConfig;
use crate::topology;

/// More than there are numbers for channels, by the server's default of 2,047.
const REFUSALS: usize = 2_100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_never_make_the_answer_to_a_later_question() {
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let config = RabbitConfig::from_url(&server.url()).unwrap();
    let connection = Connection::new(Arc::new(config), "test");
    let errand = Errand::begin(&connection, "declare").await.unwrap();
    let declared =
        errand.channel().queue_declare("there".into(), QueueDeclareOptions::default(), FieldTable::default());
    errand.call(declared).await.unwrap();
    for number in 0..REFUSALS {
        assert_eq!(topology::queue(&connection, "test", "nowhere").await.unwrap(), None, "{number}");
    }
    assert_eq!(topology::queue(&connection, "test", "there").await.unwrap(), Some((0, 0)));
}
