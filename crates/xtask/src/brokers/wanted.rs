//! What of a broker is asked for.

use anyhow::bail;
use clap::{Args, value_parser};

use super::Broker;
use super::record::Record;

/// Nothing said: whatever is up, else one process of the usual version.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The version to download and run (kafka; rabbitmq, as root)
    #[arg(long)]
    version: Option<String>,
    /// How many processes form the cluster (kafka, rabbitmq)
    #[arg(long, value_parser = value_parser!(u8).range(1..=9))]
    nodes: Option<u8>,
}

impl Wanted {
    /// Whether nothing in particular is asked for.
    pub(super) fn is_anything(&self) -> bool {
        self.version.is_none() && self.nodes.is_none()
    }

    /// Refuses what this broker cannot be.
    pub(super) fn check(&self, broker: Broker) -> anyhow::Result<()> {
        let recipe = broker.recipe();
        if self.version.is_some() && recipe.versions.is_none() {
            bail!("--version: {} comes in the version that this system's packages bring", recipe.name);
        }
        if self.nodes.is_some() && !recipe.clusters {
            bail!("--nodes: {} runs as one process here", recipe.name);
        }
        Ok(())
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.map_or(1, usize::from)
    }

    /// `None`: the one that this system's packages bring.
    pub(super) fn version(&self, broker: Broker) -> Option<String> {
        let versions = broker.recipe().versions.as_ref()?;
        self.version.clone().or_else(|| versions.usual.map(str::to_owned))
    }

    /// Whether what runs is what is asked for.
    pub(super) fn is_met_by(&self, record: &Record) -> bool {
        let version = self.version.is_none() || self.version == record.version;
        version && self.nodes.is_none_or(|nodes| usize::from(nodes) == record.nodes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{How, Node};
    use super::*;

    fn wanted(version: Option<&str>, nodes: Option<u8>) -> Wanted {
        Wanted { version: version.map(str::to_owned), nodes }
    }

    #[test]
    fn versions_and_nodes_are_for_brokers_that_have_them() {
        assert!(wanted(None, None).check(Broker::Redis).is_ok());
        assert!(wanted(Some("4.4.0"), Some(3)).check(Broker::Kafka).is_ok());
        for (refused, named) in [(wanted(Some("7"), None), "--version"), (wanted(None, Some(1)), "--nodes")] {
            let error = refused.check(Broker::Redis).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("redis"), "{error}");
        }
    }

    #[test]
    fn what_runs_is_taken_unless_something_else_is_named() {
        let nodes = vec![Node { ports: vec![1], pid: Some(1) }];
        let record = Record { how: How::Native, version: Some("4.4.0".to_owned()), nodes };
        for (wanted, met) in [
            (wanted(None, None), true),
            (wanted(Some("4.4.0"), Some(1)), true),
            (wanted(Some("4.0.0"), None), false),
            (wanted(None, Some(3)), false),
        ] {
            assert_eq!(wanted.is_met_by(&record), met, "{wanted:?}");
        }
    }
}
