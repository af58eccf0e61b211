//! Looks at groups, again and again: each is judged by what the group was like a window ago.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::future::join_all;
use zephcast::{Client, Error, ErrorKind, GroupName, GroupStatus, Result, StreamName, StreamStatus};

use crate::output::groups::GroupRecord;

/// Looks at one group, or at all that the stream has by now. One of them that went away meanwhile is left out.
///
/// # Errors
/// What a look fails with; `NotFound` for the stream, and for a group that was named.
pub(crate) async fn look(client: &Client, stream: &StreamName, group: Option<&GroupName>) -> Result<Vec<GroupStatus>> {
    if let Some(group) = group {
        return Ok(vec![client.group_status(stream, group).await?]);
    }
    let groups = groups(client.admin().stream(stream).await?)?;
    let looks = join_all(groups.iter().map(|group| client.group_status(stream, group))).await;
    looks.into_iter().filter(|look| !matches!(look, Err(error) if error.kind() == ErrorKind::NotFound)).collect()
}

/// The groups of a stream.
///
/// # Errors
/// `Unavailable` when the broker cannot say now which those are.
pub(crate) fn groups(status: StreamStatus) -> Result<Vec<GroupName>> {
    let StreamStatus { stream, broker, groups, .. } = status;
    groups.ok_or_else(|| {
        let text = format!("which groups {stream:?} has is not known");
        let error = Error::new(ErrorKind::Unavailable, "list groups", text).on(broker);
        error.advise("`zephcast group status STREAM GROUP` looks at one that is named; `zephcast check` tells what is wrong, if anything is")
    })
}

/// What was seen of each group, as far back as judging needs it.
#[derive(Debug)]
pub(crate) struct Looks {
    window: Duration,
    /// The earlier looks at each group, the oldest first.
    earlier: BTreeMap<(StreamName, GroupName), VecDeque<GroupStatus>>,
}

impl Looks {
    /// Judges by the progress over `window`; with none, by each look alone.
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, earlier: BTreeMap::new() }
    }

    /// Judges what was seen this time. Until a group was watched for the whole window its progress is not judged: a
    /// shorter time would call a group stalled that is merely slow. A group that was not seen is forgotten.
    pub(crate) fn judge(&mut self, seen: Vec<GroupStatus>) -> Vec<GroupRecord> {
        let mut earlier = std::mem::take(&mut self.earlier);
        let mut records = Vec::with_capacity(seen.len());
        for status in seen {
            let key = (status.stream.clone(), status.group.clone());
            let mut looks = earlier.remove(&key).unwrap_or_default();
            records.push(judge_one(&status, &mut looks, self.window));
            if !self.window.is_zero() {
                looks.push_back(status);
                self.earlier.insert(key, looks);
            }
        }
        records
    }
}

fn judge_one(status: &GroupStatus, looks: &mut VecDeque<GroupStatus>, window: Duration) -> GroupRecord {
    let is_old = |look: &GroupStatus| status.looked_at.saturating_duration_since(look.looked_at) >= window;
    // The youngest of those that are old enough is what counts; those before it never will again.
    while looks.get(1).is_some_and(is_old) {
        looks.pop_front();
    }
    match looks.front().filter(|look| is_old(look)) {
        Some(look) => GroupRecord::new(status, status.judge_since(look), Some(status.rates_since(look))),
        None => GroupRecord::new(status, status.judge(), None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use zephcast::Broker;

    use super::*;

    fn status(group: &str, looked_at: Instant, lag: u64) -> GroupStatus {
        GroupStatus {
            looked_at,
            published: Some(100),
            lag: Some(lag),
            ..GroupStatus::new(StreamName::new("orders").unwrap(), GroupName::new(group).unwrap(), Broker::Memory)
        }
    }

    fn states(records: &[GroupRecord]) -> Vec<(&'static str, Option<f64>)> {
        records.iter().map(|record| (record.state, record.settled_per_second)).collect()
    }

    #[test]
    fn progress_is_judged_over_the_window_and_over_no_less() {
        let start = Instant::now();
        let mut looks = Looks::new(Duration::from_secs(2));
        let mut seen = Vec::new();
        // It settles 10 a second for 3 seconds, and then nothing.
        for (second, lag) in (0..).zip([100, 90, 80, 70, 70, 70]) {
            let records = looks.judge(vec![status("g", start + Duration::from_secs(second), lag)]);
            seen.extend(states(&records));
        }
        assert_eq!(seen[..2], [("stalled", None), ("stalled", None)], "one look: lag and no member");
        let rated = [("ok", Some(10.0)), ("ok", Some(10.0)), ("ok", Some(5.0)), ("stalled", Some(0.0))];
        assert_eq!(seen[2..], rated);
        assert_eq!(looks.earlier.values().map(VecDeque::len).sum::<usize>(), 3, "what is too old is forgotten");
    }

    #[test]
    fn a_group_that_went_away_begins_anew_when_it_comes_back() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut looks = Looks::new(Duration::from_secs(1));
        looks.judge(vec![status("a", at(0), 9), status("b", at(0), 9)]);
        looks.judge(vec![status("a", at(1), 8)]);
        let records = looks.judge(vec![status("a", at(2), 7), status("b", at(2), 7)]);
        assert_eq!(states(&records), [("ok", Some(1.0)), ("stalled", None)]);
    }

    #[test]
    fn without_a_window_every_look_stands_alone() {
        let start = Instant::now();
        let mut looks = Looks::new(Duration::ZERO);
        for second in 0..3 {
            let records = looks.judge(vec![status("g", start + Duration::from_secs(second), 100 - second)]);
            assert_eq!(states(&records), [("stalled", None)]);
        }
        assert!(looks.earlier.is_empty(), "nothing is kept");
    }
}
