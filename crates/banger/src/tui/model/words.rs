//! Numbers and lists in words.

/// How many names a question tells before it only counts.
const MOST_NAMES: usize = 8;

/// A number with what is counted: `1 VM`, `2 VMs`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The first lines, and how many more there are.
pub(super) fn first(lines: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST_NAMES);
    let mut first: Vec<String> = lines.take(MOST_NAMES).collect();
    first.extend((more > 0).then(|| format!("… and {more} more")));
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one() {
        let counted = [0, 1, 2].map(|it| count(it, "VM"));
        assert_eq!(counted, ["0 VMs", "1 VM", "2 VMs"]);
    }

    #[test]
    fn many_are_counted() {
        let lines = |count: usize| first((0..count).map(|it| it.to_string()));
        assert_eq!(lines(8).len(), 8);
        assert_eq!(lines(10)[7..], ["7", "… and 2 more"]);
    }
}
