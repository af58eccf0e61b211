//! The settings of a node.

use std::fmt::Write;
use std::{fs, io};

use super::node::Node;
use super::{KafkaOptions, Listener};

const JAAS: &str = "org.apache.kafka.common.security";

/// Writes the file of the node with this number.
pub(super) fn write(options: &KafkaOptions, nodes: &[Node], number: usize) -> io::Result<()> {
    let node = &nodes[number];
    let mut text = network(options, nodes, number);
    text.push_str(&topics_and_groups(nodes.len()));
    text.push_str(&security(options));
    line(&mut text, "log.dirs", &node.data().display().to_string());
    // The last word on a property counts.
    for (name, value) in &options.properties {
        line(&mut text, name, value);
    }
    fs::write(node.properties(), text)
}

fn network(options: &KafkaOptions, nodes: &[Node], number: usize) -> String {
    let controller = |node: &Node| format!("127.0.0.1:{}", node.controller_port);
    let voters = nodes.iter().enumerate().map(|(number, node)| format!("{number}@{}", controller(node)));
    let node = &nodes[number];
    let mut listeners = vec![format!("CONTROLLER://{}", controller(node))];
    let mut advertised = Vec::new();
    let mut protocols = vec!["CONTROLLER:PLAINTEXT".to_owned()];
    for (listener, address) in node.listeners() {
        let told = match listener {
            Listener::Proxied => options.proxies.get(number).copied().unwrap_or(address),
            _ => address,
        };
        listeners.push(format!("{}://{address}", listener.name()));
        advertised.push(format!("{}://{told}", listener.name()));
        protocols.push(format!("{}:{}", listener.name(), listener.protocol()));
    }
    let mut text = "process.roles=broker,controller\ncontroller.listener.names=CONTROLLER\n".to_owned();
    line(&mut text, "node.id", &number.to_string());
    line(&mut text, "controller.quorum.voters", &voters.collect::<Vec<_>>().join(","));
    line(&mut text, "listeners", &listeners.join(","));
    line(&mut text, "advertised.listeners", &advertised.join(","));
    line(&mut text, "listener.security.protocol.map", &protocols.join(","));
    line(&mut text, "inter.broker.listener.name", Listener::Plain.name());
    text
}

/// As many copies as there are nodes, up to three; groups that form at once and notice a dead member soon.
fn topics_and_groups(nodes: usize) -> String {
    let copies = nodes.min(3);
    let in_sync = copies.div_ceil(2);
    format!(
        "auto.create.topics.enable=false
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
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.consumer.min.session.timeout.ms=500
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
"
    )
}

fn security(options: &KafkaOptions) -> String {
    let mut text = String::new();
    if options.listeners.iter().any(|listener| listener.has_password()) {
        line(&mut text, "sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512");
    }
    for listener in options.listeners.iter().filter(|listener| listener.has_password()) {
        let prefix = format!("listener.name.{}", listener.name().to_lowercase());
        let users = options.users.iter().map(|(name, password)| format!(" user_{name}=\"{password}\""));
        let plain = format!("{JAAS}.plain.PlainLoginModule required{};", users.collect::<String>());
        line(&mut text, &format!("{prefix}.plain.sasl.jaas.config"), &plain);
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            let scram = format!("{JAAS}.scram.ScramLoginModule required;");
            line(&mut text, &format!("{prefix}.{mechanism}.sasl.jaas.config"), &scram);
        }
    }
    if let Some(certificate) = &options.certificate {
        text.push_str("ssl.keystore.type=PEM\nssl.truststore.type=PEM\nssl.client.auth=requested\n");
        line(&mut text, "ssl.keystore.location", &certificate.chain_and_key().display().to_string());
        line(&mut text, "ssl.truststore.location", &certificate.authority().display().to_string());
    }
    if options.authorized {
        line(&mut text, "authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer");
        // Nodes, and whoever comes by a plain listener.
        line(&mut text, "super.users", "User:ANONYMOUS");
    }
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    writeln!(text, "{name}={value}").expect("a string takes everything");
}
