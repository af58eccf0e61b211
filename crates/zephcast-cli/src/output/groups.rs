//! Groups and streams as records and as tables.

use serde::Serialize;
use zephcast::{GroupStatus, Judgement, Rates, StreamStatus};

use crate::output::milliseconds;
use crate::output::records::Warning;
use crate::output::table::Table;

/// `{"event":"group",...}`. A figure that the broker cannot give is null, never 0.
#[derive(Debug, Serialize)]
pub(crate) struct GroupRecord {
    event: &'static str,
    pub(crate) stream: String,
    pub(crate) group: String,
    broker: &'static str,
    pub(crate) state: &'static str,
    pub(crate) evidence: String,
    pub(crate) lag: Option<u64>,
    pub(crate) in_flight: Option<u64>,
    pub(crate) oldest_pending_ms: Option<u64>,
    pub(crate) delayed: Option<u64>,
    pub(crate) dead_letters: Option<u64>,
    published_per_second: Option<f64>,
    pub(crate) settled_per_second: Option<f64>,
    members: Vec<MemberRecord>,
    units: Vec<UnitRecord>,
    pub(crate) warnings: Vec<Warning>,
}

#[derive(Debug, Serialize)]
struct MemberRecord {
    name: String,
    state: &'static str,
    units: Vec<String>,
    in_flight: Option<u64>,
    idle_ms: Option<u64>,
    prefetch: Option<u32>,
}

#[derive(Debug, Serialize)]
struct UnitRecord {
    unit: String,
    committed: Option<String>,
    end: Option<String>,
    lag: Option<u64>,
    owner: Option<String>,
}

impl GroupRecord {
    pub(crate) fn new(status: &GroupStatus, judgement: Judgement, rates: Option<Rates>) -> Self {
        let rate = |rate: fn(Rates) -> Option<f64>| rates.and_then(rate).map(|rate| (rate * 10.0).round() / 10.0);
        let members = status.members.iter().map(|member| MemberRecord {
            name: member.name.to_string(),
            state: member.state.as_str(),
            units: member.units.iter().map(ToString::to_string).collect(),
            in_flight: member.in_flight,
            idle_ms: member.idle.map(milliseconds),
            prefetch: member.prefetch,
        });
        let units = status.units.iter().map(|unit| UnitRecord {
            unit: unit.unit.to_string(),
            committed: unit.committed.clone(),
            end: unit.end.clone(),
            lag: unit.lag,
            owner: unit.owner.as_ref().map(ToString::to_string),
        });
        Self {
            event: "group",
            stream: status.stream.to_string(),
            group: status.group.to_string(),
            broker: status.broker.as_str(),
            state: judgement.state.as_str(),
            evidence: judgement.evidence,
            lag: status.lag,
            in_flight: status.in_flight,
            oldest_pending_ms: status.oldest_pending.map(milliseconds),
            delayed: status.delayed,
            dead_letters: status.dead_letters,
            published_per_second: rate(|rates| rates.published),
            settled_per_second: rate(|rates| rates.settled),
            members: members.collect(),
            units: units.collect(),
            warnings: status.warnings.iter().cloned().map(Warning::from).collect(),
        }
    }

    /// A few lines for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{} on {} ({}): {} ({})\n  lag {}, in flight {}{}, delayed {}, dead letters {}",
            self.group,
            self.stream,
            self.broker,
            self.state,
            self.evidence,
            figure(self.lag),
            figure(self.in_flight),
            // Of nothing there is no oldest.
            self.oldest_pending_ms.map_or_else(String::new, |age| format!(", oldest {age} ms")),
            figure(self.delayed),
            figure(self.dead_letters),
        );
        for (what, rate) in [("published", self.published_per_second), ("settled", self.settled_per_second)] {
            text.push_str(&rate.map_or_else(String::new, |rate| format!(", {what} {rate} a second")));
        }
        let tables = self.tables();
        if !tables.is_empty() {
            text.push('\n');
            text.push_str(&tables);
        }
        for warning in &self.warnings {
            text.push('\n');
            text.push_str(&warning.below());
        }
        text
    }

    /// Members and units, where there are any.
    pub(crate) fn tables(&self) -> String {
        let mut members = Table::new(["MEMBER", "STATE", "UNITS", "IN FLIGHT", "PREFETCH", "IDLE MS"]);
        for member in &self.members {
            let prefetch = member.prefetch.map_or_else(|| "-".to_owned(), |prefetch| prefetch.to_string());
            let (in_flight, idle) = (figure(member.in_flight), figure(member.idle_ms));
            let (name, units) = (member.name.clone(), member.units.join(","));
            members.row([name, member.state.into(), units, in_flight, prefetch, idle]);
        }
        let mut units = Table::new(["UNIT", "COMMITTED", "END", "LAG", "OWNER"]);
        for unit in &self.units {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            let (committed, end, owner) = (text(&unit.committed), text(&unit.end), text(&unit.owner));
            units.row([unit.unit.clone(), committed, end, figure(unit.lag), owner]);
        }
        [members.filled(), units.filled()].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    /// How many members there are.
    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }
}

/// A figure for people: `?` for what the broker cannot say.
pub(crate) fn figure(value: Option<u64>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

/// `{"event":"stream",...}`.
#[derive(Debug, Serialize)]
pub(crate) struct StreamRecord {
    event: &'static str,
    stream: String,
    broker: &'static str,
    depth: Option<u64>,
    units: Vec<String>,
    groups: Option<Vec<String>>,
}

impl From<&StreamStatus> for StreamRecord {
    fn from(status: &StreamStatus) -> Self {
        Self {
            event: "stream",
            stream: status.stream.to_string(),
            broker: status.broker.as_str(),
            depth: status.depth,
            units: status.units.iter().map(ToString::to_string).collect(),
            groups: status.groups.as_ref().map(|groups| groups.iter().map(ToString::to_string).collect()),
        }
    }
}

impl StreamRecord {
    /// One line for people.
    pub(crate) fn text(&self) -> String {
        let depth = figure(self.depth);
        let groups = match &self.groups {
            None => "?".to_owned(),
            Some(groups) if groups.is_empty() => "none".to_owned(),
            Some(groups) => groups.join(", "),
        };
        format!("{}  depth {depth}, units {}, groups {groups}", self.stream, self.units.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use zephcast::{Broker, GroupName, MemberName, MemberState, MemberStatus, StreamName, UnitId, UnitStatus};

    use super::*;

    #[test]
    fn a_group_has_its_keys_in_order_and_null_for_what_is_unknown() {
        let status = GroupStatus {
            published: Some(162),
            lag: Some(0),
            in_flight: Some(8),
            oldest_pending: Some(Duration::from_millis(900)),
            dead_letters: Some(1),
            members: vec![MemberStatus {
                name: MemberName::new("m").unwrap(),
                state: MemberState::Active,
                units: vec![UnitId(0)],
                in_flight: Some(8),
                prefetch: Some(16),
                settled: None,
                idle: Some(Duration::from_millis(12)),
                oldest_delivery: None,
                lease: None,
            }],
            units: vec![UnitStatus {
                unit: UnitId(0),
                committed: Some("42".into()),
                end: Some("162".into()),
                lag: Some(120),
                owner: Some(MemberName::new("m").unwrap()),
            }],
            warnings: vec![zephcast::Warning::new("blocked", "it takes\nnothing", "free memory")],
            ..GroupStatus::new(StreamName::new("orders").unwrap(), GroupName::new("billing").unwrap(), Broker::Kafka)
        };
        let rates = Rates { published: Some(12.34), settled: None };
        let record = GroupRecord::new(&status, status.judge(), Some(rates));
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            concat!(
                r#"{"event":"group","stream":"orders","group":"billing","broker":"kafka","state":"ok","evidence":"nothing to do","#,
                r#""lag":0,"in_flight":8,"oldest_pending_ms":900,"delayed":null,"dead_letters":1,"#,
                r#""published_per_second":12.3,"settled_per_second":null,"#,
                r#""members":[{"name":"m","state":"active","units":["0"],"in_flight":8,"idle_ms":12,"prefetch":16}],"#,
                r#""units":[{"unit":"0","committed":"42","end":"162","lag":120,"owner":"m"}],"#,
                r#""warnings":[{"kind":"blocked","message":"it takes\nnothing","advice":"free memory"}]}"#
            )
        );
        let text = record.text();
        assert!(text.contains("in flight 8, oldest 900 ms, delayed ?, dead letters 1"), "{text}");
        assert!(text.contains("published 12.3 a second"), "{text}");
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert!(
            lines[2..]
                .starts_with(&["MEMBER STATE UNITS IN FLIGHT PREFETCH IDLE MS".into(), "m active 0 8 16 12".into()])
        );
        assert!(text.ends_with("\n  warning (blocked): it takes nothing\n    try: free memory"), "{text}");
        let nothing = GroupRecord::new(&GroupStatus { oldest_pending: None, ..status.clone() }, status.judge(), None);
        assert!(nothing.text().contains("in flight 8, delayed ?"), "{}", nothing.text());
    }
}
