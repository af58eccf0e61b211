//! Plain text tables.

/// Lays out rows under a heading; `right` names the columns of numbers.
pub(crate) fn render<const N: usize>(heading: [&str; N], right: &[usize], rows: &[[String; N]]) -> String {
    let heading = heading.map(str::to_owned);
    let all = || std::iter::once(&heading).chain(rows);
    let widths: [usize; N] =
        std::array::from_fn(|column| all().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match right.contains(&column) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let rows = [["core".to_owned(), "7".to_owned()], ["a longer name".to_owned(), "1200".to_owned()]];
        assert_eq!(
            render(["step", "passed"], &[1], &rows),
            "step           passed\ncore                7\na longer name    1200\n"
        );
    }
}
