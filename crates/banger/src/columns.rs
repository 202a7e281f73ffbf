//! Aligned columns of text, two spaces apart. A table library would take longer for a thousand rows
//! than the rest of `vm list`.

/// Formats the rows, with each column as wide as its widest cell, and nothing after the last cell.
/// `paint` gets the numbers of row and column and a cell, and returns the cell in colour. Colours
/// have no width.
pub(crate) fn columns(
    rows: &[Vec<String>],
    paint: impl Fn(usize, usize, &str) -> Option<String>,
) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; count];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        // The padding after the last non-empty cell is omitted.
        let mut padding = 0;
        for (column, (width, cell)) in widths.iter().zip(row).enumerate() {
            if !cell.is_empty() {
                text.extend(std::iter::repeat_n(' ', padding));
                padding = 0;
                match paint(number, column, cell) {
                    Some(painted) => text += &painted,
                    None => text += cell,
                }
            }
            padding += width + 2 - cell.chars().count();
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let rows = [
            ["NAME", "PHASE", "AGE"],
            ["calm-otter", "running", "3m"],
            ["é", "", "1d"],
            ["x", "y", ""],
        ];
        rows.map(|row| row.map(str::to_owned).to_vec()).to_vec()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            columns(&rows(), |_, _, _| None),
            "NAME        PHASE    AGE\ncalm-otter  running  3m\né                    1d\nx           y\n"
        );
    }

    #[test]
    fn a_colour_has_no_width() {
        let text = columns(&rows(), |row, column, cell| {
            (row == 1 && column == 1).then(|| format!("\x1b[32m{cell}\x1b[0m"))
        });
        assert!(
            text.contains("\ncalm-otter  \x1b[32mrunning\x1b[0m  3m\n"),
            "{text}"
        );
    }
}
