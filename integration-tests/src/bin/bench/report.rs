//! The table, or a line of JSON a case.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::Outcome;
use crate::measure::Sample;
use crate::options::Output;

/// One case of one broker.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) broker: &'static str,
    pub(crate) case: &'static str,
    pub(crate) raw: Option<Sample>,
    pub(crate) ours: Option<Sample>,
    /// Instructions and allocations a message.
    pub(crate) engine: Option<(f64, f64)>,
    /// MiB that are resident with raw and with ours, where a process has nothing else to do.
    pub(crate) resident: Option<(f64, f64)>,
    /// Milliseconds without a message with raw and with ours.
    pub(crate) pauses: Option<(f64, f64)>,
    pub(crate) marks: Vec<Mark>,
}

/// What a case is to reach, and whether it did.
pub(crate) struct Mark {
    pub(crate) text: &'static str,
    pub(crate) reached: bool,
}

pub(crate) struct Report {
    output: Output,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Row {
    /// A case at its usual speed: its rates are those of the measurement, not of a schedule.
    fn rated(&self) -> bool {
        self.case != "latency"
    }

    fn rates(&self) -> (Option<f64>, Option<f64>) {
        let rate = |sample: Option<Sample>| sample.filter(|_| self.rated()).map(|sample| sample.per_second);
        (rate(self.raw), rate(self.ours))
    }

    fn ratio(&self) -> Option<f64> {
        let (raw, ours) = self.rates();
        Some(ours? / raw?)
    }

    fn json(&self) -> String {
        let number = |value: Option<f64>, digits: usize| match value {
            Some(value) if value.is_finite() => format!("{value:.digits$}"),
            _ => "null".to_owned(),
        };
        let (raw, ours) = self.rates();
        let mut line = format!(
            r#"{{"broker":"{}","case":"{}","raw_per_second":{},"ours_per_second":{},"ratio":{},"raw_cpu_us":{},"ours_cpu_us":{},"p99_us":{},"peak_mib":{}"#,
            self.broker,
            self.case,
            number(raw, 0),
            number(ours, 0),
            number(self.ratio(), 3),
            number(self.raw.map(|raw| raw.cpu_us), 3),
            number(self.ours.map(|ours| ours.cpu_us), 3),
            number(self.ours.and_then(|ours| ours.p99_us), 1),
            number(self.ours.map(|ours| ours.peak_mib), 1),
        );
        if let Some((instructions, allocations)) = self.engine {
            let (instructions, allocations) = (number(Some(instructions), 1), number(Some(allocations), 4));
            let _ =
                write!(line, r#","instructions_per_message":{instructions},"allocations_per_message":{allocations}"#);
        }
        if let Some((raw, ours)) = self.resident {
            let _ = write!(
                line,
                r#","raw_resident_mib":{},"ours_resident_mib":{}"#,
                number(Some(raw), 1),
                number(Some(ours), 1)
            );
        }
        if let Some((raw, ours)) = self.pauses {
            let _ =
                write!(line, r#","raw_pause_ms":{},"ours_pause_ms":{}"#, number(Some(raw), 1), number(Some(ours), 1));
        }
        line + "}"
    }

    fn cells(&self) -> [String; 10] {
        let cell = |value: Option<f64>, digits: usize| value.map_or(String::new(), |value| format!("{value:.digits$}"));
        let (raw, ours) = self.rates();
        let resident =
            self.resident.map_or(String::new(), |(raw, ours)| format!("raw {raw:.0} MiB, ours {ours:.0} MiB; "));
        let pauses = self.pauses.map_or(String::new(), |(raw, ours)| format!("raw {raw:.0} ms, ours {ours:.0} ms"));
        let engine = self.engine.map_or(String::new(), |(instructions, allocations)| {
            format!("{instructions:.0} instructions, {allocations:.3} allocations; ")
        });
        let marks: Vec<String> = self.marks.iter().map(Mark::shown).collect();
        let p99 = |sample: Option<Sample>| sample.and_then(|sample| sample.p99_us);
        [
            format!("{} {}", self.broker, self.case),
            cell(raw, 0),
            cell(ours, 0),
            cell(self.ratio(), 2),
            cell(self.raw.map(|raw| raw.cpu_us), 2),
            cell(self.ours.map(|ours| ours.cpu_us), 2),
            cell(p99(self.raw), 0),
            cell(p99(self.ours), 0),
            cell(self.ours.map(|ours| ours.peak_mib), 0),
            engine + &resident + &pauses + &marks.join(", "),
        ]
    }
}

impl Mark {
    fn shown(&self) -> String {
        format!("{} {}", self.text, if self.reached { "reached" } else { "MISSED" })
    }
}

impl Report {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, rows: Vec::new(), notes: Vec::new() }
    }

    /// Takes a case in; as JSON it is printed at once.
    pub(crate) fn add(&mut self, row: Row) -> Outcome<()> {
        if self.output == Output::Json {
            writeln!(std::io::stdout().lock(), "{}", row.json())?;
        } else {
            eprintln!("measured: {} {}", row.broker, row.case);
        }
        self.rows.push(row);
        Ok(())
    }

    /// Something to know about the figures.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn finish(self) -> Outcome<()> {
        if self.output == Output::Json {
            return Ok(());
        }
        let head = [
            "case",
            "raw/s",
            "ours/s",
            "ratio",
            "raw CPU us",
            "ours CPU us",
            "raw p99 us",
            "p99 us",
            "peak MiB",
            "marks",
        ];
        let mut lines: Vec<[String; 10]> = vec![head.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let mut out = std::io::stdout().lock();
        for line in &lines {
            let mut text = String::new();
            for (column, cell) in line.iter().enumerate() {
                let width = lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
                let _ = match column {
                    0 | 9 => write!(text, "{cell:<width$}  "),
                    _ => write!(text, "{cell:>width$}  "),
                };
            }
            writeln!(out, "{}", text.trim_end())?;
        }
        for note in &self.notes {
            writeln!(out, "- {note}")?;
        }
        Ok(())
    }
}
