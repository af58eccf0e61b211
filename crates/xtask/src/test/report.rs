//! What a test harness printed, added up into the table at the end.

use std::time::Duration;

use crate::table;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// What a step did, against which broker.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) step: String,
    pub(super) against: &'static str,
    pub(super) tally: Tally,
    /// Names of failed tests, or why nothing could run.
    pub(super) notes: Vec<String>,
    pub(super) took: Duration,
}

impl Row {
    /// A step that could not run: a failure, never a pass.
    pub(super) fn broken(step: &str, against: &'static str, why: String) -> Self {
        let tally = Tally { failed: 1, ..Tally::default() };
        Self { step: step.to_owned(), against, tally, notes: vec![why], took: Duration::ZERO }
    }

    pub(super) fn took(self, took: Duration) -> Self {
        Self { took, ..self }
    }
}

#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Nothing that ran is a failure as well.
    pub(super) fn failed(&self) -> usize {
        let total = self.total();
        if total.passed + total.failed == 0 { 1 } else { total.failed }
    }

    /// The table, what failed by name, and the closing line `N passed, N failed`.
    pub(super) fn render(&self) -> String {
        let rows: Vec<[String; 6]> = self
            .rows
            .iter()
            .map(|row| {
                let Tally { passed, failed, skipped } = row.tally;
                let counts = [passed, failed, skipped].map(|count| count.to_string());
                let [passed, failed, skipped] = counts;
                let seconds = format!("{:.1}", row.took.as_secs_f64());
                [row.step.clone(), row.against.to_owned(), passed, failed, skipped, seconds]
            })
            .collect();
        let heading = ["step", "against", "passed", "failed", "skipped", "seconds"];
        let mut text = format!("\n{}", table::render(heading, &[2, 3, 4, 5], &rows));
        for row in self.rows.iter().filter(|row| row.tally.failed > 0) {
            for note in &row.notes {
                text.push_str(&format!("\nFAILED {} ({}): {note}", row.step, row.against));
            }
        }
        let took: Duration = self.rows.iter().map(|row| row.took).sum();
        text.push_str(&format!("\n{} skipped, {} s\n", self.total().skipped, took.as_secs()));
        text.push_str(&format!("{} passed, {} failed\n", self.total().passed, self.failed()));
        text
    }

    fn total(&self) -> Tally {
        self.rows.iter().fold(Tally::default(), |mut total, row| {
            total.add(row.tally);
            total
        })
    }
}

/// Adds up the `test result:` lines of libtest and its look-alikes, and collects the names of failed tests.
pub(super) fn parse(stdout: &str) -> (Tally, Vec<String>) {
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    for line in stdout.lines() {
        if let Some(counts) = line.trim().strip_prefix("test result: ") {
            tally.add(Tally {
                passed: count(counts, "passed"),
                failed: count(counts, "failed"),
                skipped: count(counts, "ignored"),
            });
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix("FAILED")) {
            failed.push(name.trim_end_matches([' ', '.']).to_owned());
        }
    }
    (tally, failed)
}

/// The number before a word, in `ok. 12 passed; 0 failed; 1 ignored; ...`.
fn count(counts: &str, word: &str) -> usize {
    let part = counts.split([';', '.']).map(str::trim).find_map(|part| part.strip_suffix(word));
    part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Report, Row, Tally, parse};

    #[test]
    fn several_harnesses_in_one_output_are_added_up() {
        let output = "\
running 3 tests
test window::tests::holds ... ok
test window::tests::leaks ... FAILED
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s
test [redis] D1 confirmed means stored ... FAILED
test result: FAILED. 10 passed; 1 failed; 0 ignored; 0 measured; 2 filtered out; finished in 12.40s
";
        let (tally, failed) = parse(output);
        assert_eq!(tally, Tally { passed: 11, failed: 2, skipped: 1 });
        assert_eq!(failed, ["window::tests::leaks", "[redis] D1 confirmed means stored"]);
    }

    #[test]
    fn the_last_line_counts_and_a_run_of_nothing_fails() {
        let mut report = Report::default();
        assert!(report.render().ends_with("\n0 passed, 1 failed\n"));
        let tally = Tally { passed: 3, ..Tally::default() };
        report.push(Row { tally, notes: Vec::new(), ..Row::broken("core", "memory", String::new()) });
        assert_eq!(report.failed(), 0);
        report.push(Row::broken("conformance", "redis", "no server".to_owned()));
        assert!(report.render().ends_with("\n3 passed, 1 failed\n"));
        assert!(report.render().contains("FAILED conformance (redis): no server"));
    }
}
