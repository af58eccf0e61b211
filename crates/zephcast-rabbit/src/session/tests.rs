//! On a real server: a session is looked at while it lives.

use integration_tests::rabbit_server::{RabbitOptions, RabbitServer};

use super::*;
use crate::RabbitConfig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_at_it_from_several_sides_at_once_holds_nobody_up() {
    const LOOKS: usize = 100_000;
    let server = RabbitServer::start(RabbitOptions::default()).await.unwrap();
    let config = Arc::new(RabbitConfig::from_url(&server.url()).unwrap());
    let names = Names::new(&config, &"s".parse().unwrap(), &"g".parse().unwrap()).unwrap();
    let connection = Connection::new(config.clone(), "test");
    topology::group(&connection, "test", &config, &names, true).await.unwrap();
    let (session, _questions) = Session::open(&connection, "test", &names, "tag", 10, 1).await.unwrap();
    let session = Arc::new(session);
    let looks: [fn(&Session); 3] = [
        |session| assert_eq!(session.census().in_flight, 0),
        |session| assert!(!session.is_full()),
        |session| assert!(!session.holds_any()),
    ];
    let looking = looks.map(|look| {
        let session = session.clone();
        let (done, is_done) = tokio::sync::oneshot::channel();
        // Nobody waits for its end if it has none.
        std::thread::spawn(move || {
            (0..LOOKS).for_each(|_| look(&session));
            done.send(())
        });
        is_done
    });
    let all = futures_util::future::try_join_all(looking);
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("nobody waits for ever").unwrap();
}
