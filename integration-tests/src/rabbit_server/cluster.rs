//! Several nodes that are one RabbitMQ.

use std::io;
use std::net::SocketAddr;

use futures_util::future::try_join_all;
use tempfile::TempDir;

use super::site::Site;
use super::{RabbitOptions, RabbitServer, START_ATTEMPTS};

/// A cluster of private nodes, each with ports and a directory of its own. Of three, one may die: quorum queues have a
/// copy on each. All are killed and removed when dropped.
#[derive(Debug)]
pub struct RabbitCluster {
    nodes: Vec<RabbitServer>,
}

impl RabbitCluster {
    /// Starts so many nodes together and waits until each takes clients, which takes some 15 s.
    ///
    /// # Errors
    ///
    /// As [`RabbitServer::start`].
    pub async fn start(nodes: usize, options: RabbitOptions) -> io::Result<Self> {
        for attempt in 1.. {
            let directories = (0..nodes).map(|_| TempDir::with_prefix("zephcast-rabbitmq-"));
            let directories = directories.collect::<io::Result<Vec<_>>>()?;
            let folders: Vec<_> = directories.iter().map(TempDir::path).collect();
            let sites = Site::cluster(&options, &folders)?;
            let nodes = sites.into_iter().zip(directories);
            let nodes = nodes.map(|(site, directory)| RabbitServer { site, process: None, directory });
            let mut cluster = Self { nodes: nodes.collect() };
            match try_join_all(cluster.nodes.iter_mut().map(RabbitServer::launch)).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < START_ATTEMPTS => {}
                started => return started.map(|_| cluster),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// `amqp://guest:guest@127.0.0.1:PORT,127.0.0.1:PORT/%2f?management=http://127.0.0.1:PORT,127.0.0.1:PORT` with all
    /// nodes.
    pub fn url(&self) -> String {
        let all = |of: fn(&RabbitServer) -> SocketAddr| {
            self.nodes.iter().map(|node| of(node).to_string()).collect::<Vec<_>>().join(",")
        };
        let (clients, management) = (all(RabbitServer::addr), all(RabbitServer::management_addr));
        format!("amqp://guest:guest@{clients}/%2f?management=http://{management}")
    }

    /// One of the nodes, counted from 0.
    pub fn node(&self, node: usize) -> &RabbitServer {
        &self.nodes[node]
    }

    /// Which node has this name, as `rabbitmqctl` shows it.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name() == name)
    }

    /// Kills a node at once, as a crash does. See [`RabbitServer::kill9`].
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn kill9(&mut self, node: usize) -> io::Result<()> {
        self.nodes[node].kill9()
    }

    /// Starts a node again with the same ports and data. See [`RabbitServer::restart`].
    ///
    /// # Errors
    ///
    /// As [`RabbitServer::restart`].
    pub async fn restart(&mut self, node: usize) -> io::Result<()> {
        self.nodes[node].restart().await
    }
}
