//! A network between a case and its server, which can be made bad.

pub(crate) use integration_tests::proxy::{Counters, Direction, Proxy};

use crate::prelude::*;

/// A proxy in front of a server of the cases.
pub(crate) async fn way_to(server: &Server) -> Proxy {
    Proxy::start(([127, 0, 0, 1], server.port).into()).await.expect("the proxy starts")
}

/// What connects through it.
pub(crate) fn through(proxy: &Proxy) -> RedisConfig {
    RedisConfig::new("127.0.0.1", proxy.addr().port())
}

/// Bytes that went this way so far.
pub(crate) fn passed(proxy: &Proxy, direction: Direction) -> u64 {
    let Counters { from_client, from_server, .. } = proxy.counters();
    if direction == Direction::FromClient { from_client } else { from_server }
}

/// How often an entry of the stream has this payload, as `redis-cli` shows it.
pub(crate) fn copies(server: &Server, stream: &StreamName, payload: &str) -> usize {
    server.cli(&["XRANGE", stream.as_str(), "-", "+"]).lines().filter(|line| *line == payload).count()
}
