//! A table of text in aligned columns.

use std::fmt;

/// Rows under a head; columns are as wide as their widest cell.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned)] }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Its text, if there is anything under the head.
    pub(crate) fn filled(&self) -> Option<String> {
        (self.rows.len() > 1).then(|| self.to_string())
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: [usize; N] =
            std::array::from_fn(|n| self.rows.iter().map(|row| row[n].chars().count()).max().unwrap_or_default());
        for (n, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}  {}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_blank_end() {
        let mut table = Table::new(["A", "LONG"]);
        table.row(["wide".into(), "x".into()]);
        assert_eq!(table.to_string(), "  A     LONG\n  wide  x");
    }
}
