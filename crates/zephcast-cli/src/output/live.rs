//! A view of groups that follows: each frame is drawn over the one before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::output::groups::{GroupRecord, figure};
use crate::output::records::Warning;
use crate::output::sparkline::sparkline;
use crate::output::table::Table;

/// So many looks are drawn as bars: fewer in a narrow terminal.
const MOST_BARS: usize = 30;
const LEAST_BARS: usize = 8;
/// Blanks what an earlier frame left to the right of a line, and below the last one.
const REST_OF_LINE: &str = "\x1b[K\n";
const REST_OF_SCREEN: &str = "\x1b[J";
const HOME: &str = "\x1b[H";
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// What was seen of the groups so far.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// The groups as they were seen last.
    groups: Vec<GroupRecord>,
    trends: BTreeMap<String, Trend>,
    /// Whether the screen was cleared.
    begun: bool,
}

/// The last figures of one group, the oldest first.
#[derive(Debug, Default)]
struct Trend {
    lag: VecDeque<Option<f64>>,
    settled: VecDeque<Option<f64>>,
}

impl Live {
    /// Takes in what was seen.
    pub(crate) fn see(&mut self, groups: Vec<GroupRecord>) {
        self.trends.retain(|name, _| groups.iter().any(|group| group.group == *name));
        for group in &groups {
            self.trends.entry(group.group.clone()).or_default().add(group);
        }
        self.groups = groups;
    }

    /// What to write so that the terminal shows `head` and below it what was seen last, cut to its size. With `details`,
    /// members and units are shown too.
    pub(crate) fn frame(&mut self, head: &str, details: bool, size: Size) -> String {
        let text = format!("{head}\n\n{}", self.body(details, size.columns));
        let lines: Vec<&str> = text.lines().collect();
        // The cursor stands on a line of its own.
        let room = size.rows.saturating_sub(1).max(1);
        let mut frame = String::from(if std::mem::replace(&mut self.begun, true) { HOME } else { CLEAR });
        let mut line = |line: &str| {
            frame.extend(line.chars().take(size.columns));
            frame.push_str(REST_OF_LINE);
        };
        if lines.len() <= room {
            lines.iter().for_each(|text| line(text));
        } else {
            lines[..room - 1].iter().for_each(|text| line(text));
            line(&format!("  ... {} more lines", lines.len() - (room - 1)));
        }
        frame + REST_OF_SCREEN
    }

    fn body(&self, details: bool, columns: usize) -> String {
        if self.groups.is_empty() {
            return "  no groups".into();
        }
        let mut parts = vec![self.table(columns)];
        let bad = self.groups.iter().filter(|group| !matches!(group.state, "ok" | "empty"));
        let remarks: Vec<_> =
            bad.map(|group| format!("  {} is {}: {}", group.group, group.state, group.evidence)).collect();
        parts.push(remarks.join("\n"));
        // What is wrong with the broker is told with each of its groups.
        let warnings: BTreeSet<String> =
            self.groups.iter().flat_map(|group| &group.warnings).map(Warning::below).collect();
        parts.push(warnings.into_iter().collect::<Vec<_>>().join("\n"));
        parts.extend(self.groups.iter().filter(|_| details).map(GroupRecord::tables));
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }

    /// The groups, with bars in what room there is. In a terminal that is too narrow the last columns are cut.
    fn table(&self, columns: usize) -> String {
        let widest = self.table_of(MOST_BARS);
        let width = widest.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        match width.saturating_sub(columns).div_ceil(2) {
            0 => widest,
            excess => self.table_of(MOST_BARS.saturating_sub(excess).max(LEAST_BARS)),
        }
    }

    fn table_of(&self, bars: usize) -> String {
        let mut table = Table::new([
            "GROUP",
            "STATE",
            "LAG",
            &format!("{:bars$}", ""),
            "SETTLED/S",
            &format!("{:bars$}", ""),
            "MEMBERS",
            "IN FLIGHT",
            "DEAD",
            "DELAYED",
            "OLDEST MS",
        ]);
        for group in &self.groups {
            let Some(trend) = self.trends.get(&group.group) else { continue };
            table.row([
                group.group.clone(),
                group.state.to_owned(),
                figure(group.lag),
                last(&trend.lag, bars),
                group.settled_per_second.map_or_else(|| "?".to_owned(), |rate| rate.to_string()),
                last(&trend.settled, bars),
                group.member_count().to_string(),
                figure(group.in_flight),
                figure(group.dead_letters),
                figure(group.delayed),
                figure(group.oldest_pending_ms),
            ]);
        }
        table.to_string()
    }
}

fn last(figures: &VecDeque<Option<f64>>, bars: usize) -> String {
    sparkline(figures.range(figures.len().saturating_sub(bars)..).copied())
}

impl Trend {
    fn add(&mut self, record: &GroupRecord) {
        #[expect(clippy::cast_precision_loss, reason = "it is drawn in eight steps")]
        let lag = record.lag.map(|lag| lag as f64);
        for (figures, figure) in [(&mut self.lag, lag), (&mut self.settled, record.settled_per_second)] {
            if figures.len() == MOST_BARS {
                figures.pop_front();
            }
            figures.push_back(figure);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use zephcast::{Broker, GroupName, GroupStatus, Rates, StreamName};

    use super::*;

    fn record(group: &str, lag: u64) -> GroupRecord {
        let status = GroupStatus {
            lag: Some(lag),
            oldest_pending: Some(Duration::from_millis(900)),
            delayed: Some(2),
            dead_letters: Some(1),
            ..GroupStatus::new(StreamName::new("orders").unwrap(), GroupName::new(group).unwrap(), Broker::Redis)
        };
        GroupRecord::new(&status, status.judge(), Some(Rates { published: None, settled: Some(lag as f64) }))
    }

    const SIZE: Size = Size { columns: 160, rows: 24 };

    /// What is left of a frame's lines without what blanks the rest.
    fn lines(frame: &str) -> Vec<&str> {
        let frame = frame.trim_start_matches(CLEAR).trim_start_matches(HOME);
        frame.lines().map(|line| line.trim_end_matches("\x1b[K")).collect()
    }

    #[test]
    fn a_frame_has_figures_trends_and_what_is_wrong() {
        let mut live = Live::default();
        for lag in [0, 35, 70] {
            live.see(vec![record("billing", lag)]);
        }
        let frame = live.frame("orders on redis", false, SIZE);
        assert!(frame.starts_with(&format!("{CLEAR}orders on redis{REST_OF_LINE}{REST_OF_LINE}  GROUP")), "{frame:?}");
        assert_eq!(
            lines(&frame)[3].split_whitespace().collect::<Vec<_>>(),
            ["billing", "stalled", "70", "▁▅█", "70", "▁▅█", "0", "?", "1", "2", "900"]
        );
        assert!(frame.contains("billing is stalled: lag 70 and no member"), "{frame:?}");
        assert!(frame.ends_with(REST_OF_SCREEN));
        assert!(live.frame("x", false, SIZE).starts_with(&format!("{HOME}x")), "the screen is cleared once");
    }

    #[test]
    fn what_is_wrong_with_the_broker_is_told_once() {
        let mut live = Live::default();
        let warning = Warning { kind: "blocked", message: "it takes nothing".into(), advice: "free memory".into() };
        let mut groups = vec![record("a", 0), record("b", 0)];
        groups.iter_mut().for_each(|group| group.warnings.push(warning.clone()));
        live.see(groups);
        let frame = live.frame("orders", false, SIZE);
        let lines = lines(&frame);
        let told: Vec<_> = lines.iter().filter(|line| line.contains("blocked")).collect();
        assert_eq!(told, [&"  warning (blocked): it takes nothing"], "{lines:?}");
        assert!(lines.contains(&"    try: free memory"), "{lines:?}");
    }

    #[test]
    fn what_does_not_fit_is_cut_and_told() {
        let mut live = Live::default();
        live.see((0..30).map(|n| record(&format!("group-{n:02}"), 0)).collect());
        let frame = live.frame("orders", false, Size { columns: 18, rows: 10 });
        let lines = lines(&frame);
        assert_eq!((lines.len(), lines[3]), (10, "  group-00  empty "), "{lines:?}");
        assert_eq!(&lines[8..], ["  ... 25 more lines", REST_OF_SCREEN].map(|line| &line[..line.len().min(18)]));
    }

    #[test]
    fn bars_have_the_room_that_there_is() {
        let mut live = Live::default();
        for lag in 1..100 {
            live.see(vec![record("a", lag)]);
        }
        for (columns, bars) in [(160, MOST_BARS), (110, 14), (40, LEAST_BARS)] {
            let table = live.table(columns);
            let count = table.chars().filter(|c| ('▁'..='█').contains(c)).count();
            assert_eq!(count, 2 * bars, "{columns}: {table}");
        }
    }

    #[test]
    fn a_trend_ends_with_its_group() {
        let mut live = Live::default();
        live.see(vec![record("a", 1), record("b", 1)]);
        live.see(vec![record("b", 1)]);
        assert_eq!(live.trends.keys().collect::<Vec<_>>(), ["b"]);
        live.see(Vec::new());
        assert!(live.trends.is_empty() && live.frame("x", false, SIZE).contains("no groups"));
    }
}
