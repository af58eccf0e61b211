//! Which nodes of the cluster are away or make a member wait, as the client library's statistics say it.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::Statistics;
use rdkafka::statistics::Broker;
use zephcast_core::Event;

/// What is known of the nodes, by host and port.
#[derive(Default)]
pub(crate) struct Nodes(HashMap<String, Node>);

#[derive(Default)]
struct Node {
    /// How often the library had tried to connect when it was connected last.
    attempts_when_up: i64,
    /// In how many looks in a row it was tried in vain.
    away: u32,
}

/// In so many looks a node is away before it is told: in one it may just be connecting.
const AWAY: u32 = 2;
/// A connected node that has owed an answer for so long is frozen: it answers fetches at once.
const FROZEN: Duration = Duration::from_secs(3);

impl Nodes {
    /// What has happened since the last look.
    pub(crate) fn look(&mut self, statistics: &Statistics) -> Vec<Event> {
        let brokers = statistics.brokers.values().filter(|broker| broker.nodeid >= 0 && broker.source == "learned");
        let mut events = Vec::new();
        for broker in brokers {
            events.extend(self.0.entry(broker.nodename.clone()).or_default().look(broker));
            events.extend(throttled(broker));
        }
        events
    }
}

impl Node {
    fn look(&mut self, broker: &Broker) -> Option<Event> {
        let attempts = broker.connects.unwrap_or_default();
        if matches!(broker.state.as_str(), "UP" | "UPDATE") {
            self.attempts_when_up = attempts;
            if is_frozen(broker) {
                let is_new = self.away < AWAY;
                self.away = AWAY;
                return is_new.then(|| Event::NodeDown(broker.nodename.clone()));
            }
            let was_away = std::mem::take(&mut self.away) >= AWAY;
            return was_away.then(|| Event::NodeUp(broker.nodename.clone()));
        }
        // A node that is not needed may end an idle connection; nobody tries to reach it then.
        if attempts == self.attempts_when_up {
            return None;
        }
        self.away = self.away.saturating_add(1);
        (self.away == AWAY).then(|| Event::NodeDown(broker.nodename.clone()))
    }
}

fn is_frozen(broker: &Broker) -> bool {
    // Silence alone says nothing: nobody may have needed it, and it may have been asked just now.
    let owed = broker.rxidle.min(broker.txidle);
    let owed = Duration::from_micros(u64::try_from(owed).unwrap_or(0));
    // One that holds back answers for a quota is not.
    broker.waitresp_cnt > 0 && owed > FROZEN && throttled(broker).is_none()
}

fn throttled(broker: &Broker) -> Option<Event> {
    let longest = broker.throttle.as_ref().map(|window| window.max).filter(|ms| *ms > 0)?;
    let delay = Duration::from_millis(longest.unsigned_abs());
    Some(Event::Throttled { node: broker.nodename.clone(), delay })
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::Window;

    use super::*;

    fn look(nodes: &mut Nodes, state: &str, attempts: i64, longest_ms: i64) -> String {
        let broker = Broker {
            nodeid: 1,
            nodename: "h:1".into(),
            source: "learned".into(),
            state: state.into(),
            connects: Some(attempts),
            throttle: Some(Window { max: longest_ms, ..Window::default() }),
            ..Broker::default()
        };
        let brokers = HashMap::from([("h:1/1".to_owned(), broker)]);
        let events = nodes.look(&Statistics { brokers, ..Statistics::default() });
        events.iter().map(|event| format!("{event:?}")).collect()
    }

    #[test]
    fn a_node_that_is_tried_in_vain_is_told_once_and_so_is_its_return() {
        let mut nodes = Nodes::default();
        let told: Vec<String> =
            [("TRY_CONNECT", 1), ("UP", 1), ("DOWN", 2), ("DOWN", 2), ("TRY_CONNECT", 5), ("UP", 6), ("UP", 6)]
                .map(|(state, attempts)| look(&mut nodes, state, attempts, 0))
                .into();
        assert_eq!(told, ["", "", "", r#"NodeDown("h:1")"#, "", r#"NodeUp("h:1")"#, ""]);
    }

    #[test]
    fn a_node_that_nobody_needs_is_not_away() {
        let mut nodes = Nodes::default();
        let told = ["UP", "DOWN", "DOWN", "DOWN"].map(|state| look(&mut nodes, state, 1, 0));
        assert_eq!(told, ["", "", "", ""]);
    }

    #[test]
    fn a_node_that_owes_an_answer_for_long_is_frozen() {
        let mut node = Node::default();
        let mut look = |owed, silent_s: i64, asked_s: i64| {
            let (state, rxidle, txidle) = ("UP".into(), silent_s * 1_000_000, asked_s * 1_000_000);
            node.look(&Broker { state, waitresp_cnt: owed, rxidle, txidle, ..Broker::default() }).is_some()
        };
        assert!(!look(0, 60, 60) && !look(1, 1, 1));
        assert!(!look(1, 60, 0), "it was asked just now");
        assert!(look(1, 4, 4), "down");
        assert!(!look(1, 8, 8));
        assert!(look(0, 0, 0), "up");
    }

    #[test]
    fn being_over_the_quota_is_told() {
        assert_eq!(look(&mut Nodes::default(), "UP", 1, 250), r#"Throttled { node: "h:1", delay: 250ms }"#);
    }
}
