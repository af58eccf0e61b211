//! The settings of a node: both broker and controller, all for tests.

use std::path::Path;

use super::address;

/// Of the node at `index` of a cluster with these ports.
pub(super) fn of(index: usize, nodes: &[Vec<u16>], log: &Path) -> String {
    let (client, controller) = (address(nodes[index][0]), address(nodes[index][1]));
    let voters = nodes.iter().enumerate().map(|(index, ports)| format!("{}@{}", index + 1, address(ports[1])));
    let (number, voters) = (index + 1, voters.collect::<Vec<_>>().join(","));
    let copies = nodes.len().min(3);
    let in_sync = copies.div_ceil(2);
    let log = log.display();
    format!(
        "process.roles=broker,controller
node.id={number}
listeners=PLAINTEXT://{client},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{client}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
log.dirs={log}
# A topic that a test forgot to create shows.
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=4
# Groups form at once, and tests may notice a dead member soon.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.consumer.min.session.timeout.ms=500
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_each_other_and_copy_what_they_can() {
        let of = |nodes: &[Vec<u16>]| of(0, nodes, Path::new("/data"));
        let alone = of(&[vec![1, 2]]);
        for line in ["controller.quorum.voters=1@127.0.0.1:2", "default.replication.factor=1", "min.insync.replicas=1"]
        {
            assert!(alone.lines().any(|found| found == line), "{line}");
        }
        let three = of(&[vec![1, 4], vec![2, 5], vec![3, 6]]);
        for line in [
            "listeners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:4",
            "controller.quorum.voters=1@127.0.0.1:4,2@127.0.0.1:5,3@127.0.0.1:6",
            "default.replication.factor=3",
            "min.insync.replicas=2",
        ] {
            assert!(three.lines().any(|found| found == line), "{line}");
        }
    }
}
