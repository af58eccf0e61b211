//! Streams, groups and dead letters.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fred::types::Value;
use zephcast_core::driver::{Admin, Browsed, Check, Cursor, DeadLetter, Redrive, StreamSpec};
use zephcast_core::{Broker, ErrorKind, GroupName, Position, Result, Start, StreamName, StreamStatus};

use crate::connection::Connection;
use crate::error::{error, invalid};
use crate::intake::UNIT;
use crate::keys::{Keys, NAMES, is_helper};
use crate::member::start_id;
use crate::reply::{array, count, elements, text};
use crate::scripts::{CREATE_GROUP, CREATE_STREAM};
use crate::status::{groups, no_stream};
use crate::{browse, check, dead_letters, moving, removal};

pub(crate) struct RedisAdmin {
    control: Arc<Connection>,
    payload_field: Bytes,
}

impl RedisAdmin {
    pub(crate) fn new(control: Arc<Connection>) -> Self {
        let payload_field = Bytes::from(control.config().payload_field.clone());
        Self { control, payload_field }
    }
}

#[async_trait]
impl Admin for RedisAdmin {
    async fn create_stream(&self, spec: &StreamSpec) -> Result<()> {
        const OPERATION: &str = "create a stream";
        NAMES.check(&spec.stream)?;
        if spec.partitions.is_some_and(|partitions| partitions != 1) {
            return Err(error(ErrorKind::Unsupported, OPERATION, "a Redis stream has one partition"));
        }
        if let Some(setting) = spec.settings.keys().next() {
            return Err(invalid(OPERATION, format!("`{setting}` is no setting of a Redis stream; it has none")));
        }
        self.control.run(OPERATION, &CREATE_STREAM, &[spec.stream.as_str()], Vec::new).await?;
        for group in &spec.groups {
            self.create_group(&spec.stream, group, Start::Earliest).await?;
        }
        Ok(())
    }

    async fn delete_stream(&self, stream: &StreamName) -> Result<()> {
        removal::delete(&self.control, stream).await
    }

    async fn streams(&self) -> Result<Vec<StreamStatus>> {
        const OPERATION: &str = "list streams";
        let link = self.control.link(OPERATION).await?;
        let mut names = BTreeSet::new();
        for node in link.nodes() {
            let mut cursor = Bytes::from_static(b"0");
            loop {
                let arguments = vec![cursor.into(), "COUNT".into(), "1000".into(), "TYPE".into(), "stream".into()];
                let page = link.call_node(&node, "SCAN", arguments).await;
                let page = page.inspect_err(|failure| self.control.note(&link, failure));
                let page = page.map_err(|failure| failure.into_error(OPERATION))?;
                let [next, keys] = elements(OPERATION, page)?;
                for key in array(OPERATION, keys)? {
                    names.extend(StreamName::new(text(OPERATION, key)?).ok().filter(|name| !is_helper(name.as_str())));
                }
                cursor = crate::reply::bytes(OPERATION, next)?;
                if cursor == "0" {
                    break;
                }
            }
        }
        let mut streams = Vec::with_capacity(names.len());
        for name in names {
            match self.stream(&name).await {
                Ok(stream) => streams.push(stream),
                // Deleted meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    tracing::warn!(%error, stream = %name, "left out of the list: the user may not look at it");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(streams)
    }

    async fn stream(&self, stream: &StreamName) -> Result<StreamStatus> {
        const OPERATION: &str = "show a stream";
        let known = groups(&self.control, OPERATION, stream).await?;
        let depth = self.control.call(OPERATION, "XLEN", Some(stream.as_str()), vec![stream.as_str().into()]).await?;
        Ok(StreamStatus {
            stream: stream.clone(),
            broker: Broker::Redis,
            depth: Some(count(OPERATION, &depth)?),
            units: vec![UNIT],
            groups: Some(known.into_iter().filter_map(|group| GroupName::new(group.name).ok()).collect()),
        })
    }

    async fn create_group(&self, stream: &StreamName, group: &GroupName, start: Start) -> Result<()> {
        const OPERATION: &str = "create a group";
        NAMES.check(stream)?;
        let keys = Keys::new(stream, group);
        let on = [keys.stream.as_str(), &keys.retry, &keys.members];
        let start = start_id(OPERATION, start)?;
        let created = self.control.try_run(OPERATION, &CREATE_GROUP, &on, || {
            // The script is that of joining, without a member.
            vec![keys.group.as_str().into(), "".into(), "".into(), Value::from(0), start.as_str().into(), "0".into()]
        });
        created.await?.map(|_| ()).map_err(|failure| {
            if failure.mentions("requires the key to exist") {
                return error(ErrorKind::NotFound, OPERATION, format!("the stream {stream:?} does not exist"));
            }
            no_stream(OPERATION, stream, failure)
        })
    }

    async fn seek_group(&self, stream: &StreamName, group: &GroupName, to: Start) -> Result<()> {
        NAMES.check(stream)?;
        moving::seek(&self.control, stream, group, to).await
    }

    async fn delete_group(&self, stream: &StreamName, group: &GroupName) -> Result<()> {
        NAMES.check(stream)?;
        moving::delete(&self.control, stream, group).await
    }

    async fn browse(&self, stream: &StreamName, from: &Cursor, limit: usize) -> Result<Browsed> {
        NAMES.check(stream)?;
        browse::look(&self.control, &self.payload_field, stream, from, limit).await
    }

    async fn dead_letters(
        &self,
        stream: &StreamName,
        group: &GroupName,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        dead_letters::list(&self.control, &self.payload_field, stream, group, after, limit).await
    }

    async fn redrive(&self, stream: &StreamName, group: &GroupName, position: Position) -> Result<Redrive> {
        dead_letters::redrive(&self.control, stream, group, position).await
    }

    async fn purge_dead_letters(&self, stream: &StreamName, group: &GroupName) -> Result<u64> {
        dead_letters::purge(&self.control, stream, group).await
    }

    async fn trim(&self, stream: &StreamName) -> Result<u64> {
        removal::trim(&self.control, stream).await
    }

    async fn check(&self) -> Result<Check> {
        check::run(&self.control).await
    }
}
