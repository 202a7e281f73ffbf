//! The screen that people leave open: all VMs at a glance, every verb a key away.
//!
//! ```text
//!   keyboard ─┐                      ┌─► view (pure)  ─► terminal
//!   events ───┼─► inbox ─► model ────┤
//!   answers ──┘          (pure)      └─► effects ─► jobs, questions, programs
//! ```
//!
//! `model` is everything that is shown, and one pure function that takes a message in; `view` draws it;
//! `run` has the threads and the terminal. Nothing that waits is on the thread that draws.

mod files;
mod model;
mod run;
mod view;

pub(crate) use model::Look;
pub(crate) use run::run;

use crate::output::Output;

/// The output of what works behind the screen: it prints nothing.
const SILENT: Output = Output {
    json: true,
    quiet: true,
    terminal: false,
    colour: false,
    unicode: false,
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn sources(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|it| it == "rs") {
                *text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }

    #[test]
    fn every_complaint_of_the_page_has_its_test() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut text = String::new();
        for folder in ["src/tui", "tests/cli"] {
            sources(&root.join(folder), &mut text);
        }
        let page = include_str!("../../../../docs/tui.md");
        let rows = page.split("| complaint |").nth(1).unwrap().lines().skip(2);
        let mut count = 0;
        for row in rows.take_while(|row| row.starts_with('|')) {
            let cell = row.split('|').nth(3).unwrap();
            let names = cell.split('`').skip(1).step_by(2);
            let tests: Vec<_> = names.filter(|it| it.contains('_')).collect();
            assert!(!tests.is_empty(), "{row}");
            for test in tests {
                assert!(text.contains(&format!("fn {test}(")), "{test}");
            }
            count += 1;
        }
        assert_eq!(count, 14);
    }
}
