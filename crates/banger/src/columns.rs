//! Aligned columns of text, two spaces apart. A table library takes longer for a thousand rows than
//! the rest of `vm list`.

/// Lays the rows out, each column as wide as its widest cell, with nothing after the last cell.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        for (width, cell) in widths.iter().zip(row) {
            text += cell;
            let padding = width + 2 - cell.chars().count();
            text.extend(std::iter::repeat_n(' ', padding));
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["NAME", "PHASE", "AGE"],
            ["calm-otter", "running", "3m"],
            ["é", "", "1d"],
        ];
        let text = columns(&rows.map(|row| row.map(str::to_owned)));
        assert_eq!(
            text,
            "NAME        PHASE    AGE\ncalm-otter  running  3m\né                    1d\n"
        );
    }
}
