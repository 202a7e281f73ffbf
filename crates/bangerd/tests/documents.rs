//! What the documents name is there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names of all functions in the sources below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1);
            found.extend(
                names
                    .filter_map(|rest| rest.split_once('('))
                    .map(|(name, _)| name.to_owned()),
            );
        }
    }
}

#[test]
fn every_test_that_docs_faults_names_exists() {
    let text = std::fs::read_to_string(workspace().join("docs/faults.md")).unwrap();
    let mut known = BTreeSet::new();
    functions(&workspace().join("crates"), &mut known);
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    let mut numbers = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        numbers.push(cells[0].parse::<u32>().unwrap());
        let tests: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        assert!(
            !tests.is_empty() || cells[2].starts_with("not yet: "),
            "fault {} is held by nothing and has no reason",
            cells[0]
        );
        for test in tests {
            assert!(
                known.contains(test),
                "there is no test `{test}` (fault {})",
                cells[0]
            );
        }
    }
    assert_eq!(numbers, (1..=40).collect::<Vec<u32>>());
}
