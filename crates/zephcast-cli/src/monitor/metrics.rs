//! Prometheus' text format.

use std::fmt::Write as _;

use super::watcher::View;
use crate::output::groups::GroupRecord;

/// What `/metrics` is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The values of `state`.
const STATES: [&str; 5] = ["empty", "ok", "lagging", "stalled", "stuck"];

/// A figure of a group; none where it is unknown.
type Figure = fn(&GroupRecord) -> Option<f64>;

#[expect(clippy::cast_precision_loss, reason = "every figure is a float in this format")]
const GROUP_FIGURES: [(&str, &str, Figure); 6] = [
    ("lag", "Messages that the group has not settled, in flight and delayed included.", |group| {
        group.lag.map(|count| count as f64)
    }),
    ("in_flight", "Messages that were delivered and are not settled.", |group| {
        group.in_flight.map(|count| count as f64)
    }),
    ("members", "Members that the broker knows.", |group| Some(group.member_count() as f64)),
    ("oldest_pending_seconds", "How long the oldest message in flight has been waiting.", |group| {
        group.oldest_pending_ms.map(|ms| ms as f64 / 1_000.0)
    }),
    ("dead_letters", "Messages that the group gave up.", |group| group.dead_letters.map(|count| count as f64)),
    ("delayed", "Messages that wait for a later redelivery.", |group| group.delayed.map(|count| count as f64)),
];

/// The figures of every group of every broker that answered.
pub(super) fn render(views: &[View]) -> String {
    let mut text = String::new();
    head(&mut text, "zephcast_broker_up", "Whether the broker answered the last look.");
    for view in views {
        let up = u8::from(view.groups.is_ok());
        let _ = writeln!(text, "zephcast_broker_up{{broker=\"{}\"}} {up}", escaped(&view.broker));
    }
    for (name, help, figure) in GROUP_FIGURES {
        let name = format!("zephcast_group_{name}");
        head(&mut text, &name, help);
        for (labels, group) in groups(views) {
            if let Some(value) = figure(group) {
                let _ = writeln!(text, "{name}{{{labels}}} {value}");
            }
        }
    }
    head(&mut text, "zephcast_group_state", "1 for the state that the group is in, 0 for the others.");
    for (labels, group) in groups(views) {
        for state in STATES {
            let is = u8::from(group.state == state);
            let _ = writeln!(text, "zephcast_group_state{{{labels},state=\"{state}\"}} {is}");
        }
    }
    text
}

fn head(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

/// Every group with its labels.
fn groups(views: &[View]) -> impl Iterator<Item = (String, &GroupRecord)> {
    let seen = views.iter().filter_map(|view| Some((&view.broker, view.groups.as_ref().ok()?)));
    seen.flat_map(|(broker, groups)| groups.iter().map(move |group| (labels(broker, group), group)))
}

fn labels(broker: &str, group: &GroupRecord) -> String {
    let GroupRecord { stream, group, .. } = group;
    format!("broker=\"{}\",stream=\"{}\",group=\"{}\"", escaped(broker), escaped(stream), escaped(group))
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::super::pages::tests::views;
    use super::*;

    #[test]
    fn every_known_figure_has_a_sample_and_no_other() {
        let text = render(&views());
        for sample in [
            r#"zephcast_broker_up{broker="redis://h:1"} 1"#,
            r#"zephcast_broker_up{broker="kafka://k:2"} 0"#,
            r#"zephcast_group_lag{broker="redis://h:1",stream="orders",group="billing"} 120"#,
            r#"zephcast_group_members{broker="redis://h:1",stream="orders",group="billing"} 0"#,
            r#"zephcast_group_oldest_pending_seconds{broker="redis://h:1",stream="orders",group="billing"} 0.9"#,
            r#"zephcast_group_delayed{broker="redis://h:1",stream="orders",group="billing"} 2"#,
            r#"zephcast_group_state{broker="redis://h:1",stream="orders",group="billing",state="stalled"} 1"#,
            r#"zephcast_group_state{broker="redis://h:1",stream="orders",group="billing",state="ok"} 0"#,
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample}: {text}");
        }
        assert!(!text.contains("zephcast_group_in_flight{"), "it is unknown: {text}");
        assert!(!text.lines().any(|line| line.starts_with("zephcast_group_") && line.contains("kafka")), "{text}");
        assert_eq!(text.matches(r#"state=""#).count(), STATES.len());
    }

    #[test]
    fn each_family_is_described_once_and_stands_together() {
        let text = render(&views());
        let mut families = Vec::new();
        for line in text.lines() {
            let name =
                line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ").split([' ', '{']).next().unwrap();
            if families.last() != Some(&name) {
                assert!(!families.contains(&name) && line.starts_with("# HELP"), "{line}: {text}");
                families.push(name);
            }
        }
        assert_eq!(families.len(), 8);
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
