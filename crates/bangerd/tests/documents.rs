//! Checks that what the documents name exists.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use banger_api::location::Location;
use bangerd::assemble::{Mode, assemble};
use bangerd::config::Config;

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

/// The names of all checks in the sources below a folder, except in unit tests.
fn checks(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            checks(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for made in ["Check::new(", "Check::probe("] {
            let names = text.split(made).skip(1).filter_map(|rest| {
                let rest = rest.trim_start().strip_prefix('"')?;
                rest.split_once('"').map(|(name, _)| name.to_owned())
            });
            found.extend(names);
        }
    }
}

#[test]
fn the_guide_lists_every_check() {
    let text = std::fs::read_to_string(workspace().join("docs/guide.md")).unwrap();
    let section = text.split("\n## doctor\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut all = BTreeSet::new();
    checks(&workspace().join("crates/bangerd/src"), &mut all);
    assert!(all.len() > 20, "{all:?}");
    for name in all {
        let row = format!("| {name} |");
        let of_a_start = section.replace('\n', " ").contains(&format!("`{name}`"));
        assert!(
            section.contains(&row) || of_a_start,
            "the guide says nothing of the check `{name}`"
        );
    }
}

#[test]
fn the_readme_shows_the_checks_of_the_simulated_host() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location {
        state: folder.path().to_owned(),
        socket: folder.path().join("s"),
        config: folder.path().join("absent.toml"),
        bundle: folder.path().join("absent"),
        bundle_reason: String::new(),
    };
    let mode = Mode::Sim(banger_host::Sim::new());
    let engine = assemble(&location, &Config::default(), &mode).unwrap();
    let checks = engine.doctor().checks;
    let text = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let sample = text.split("$ banger doctor\n").nth(1).unwrap();
    let sample = sample.split("\n\n").next().unwrap();
    let width = checks.iter().map(|it| it.name.len()).max().unwrap();
    let shown: Vec<&str> = sample.lines().map(|it| it[5..5 + width].trim()).collect();
    let names: Vec<&str> = checks.iter().map(|it| &*it.name).collect();
    assert_eq!(shown, names);
    assert!(text.contains(&format!("all {} checks passed", names.len())));
}

#[test]
fn the_page_of_the_configuration_has_every_key_and_no_other() {
    let text = std::fs::read_to_string(workspace().join("docs/configuration.md")).unwrap();
    let table = text.split("## Every key").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let keys: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    assert_eq!(keys, banger_api::configuration::KEYS);
    for file in text.split("```toml\n").skip(1) {
        let sample = file.split("```").next().unwrap();
        Config::default()
            .parse(Path::new("sample"), sample.as_bytes())
            .unwrap();
    }
}

#[test]
fn the_page_of_the_configuration_names_what_a_daemon_takes_over() {
    let text = std::fs::read_to_string(workspace().join("docs/configuration.md")).unwrap();
    let sentence = text.split("These take effect at once: ").nth(1).unwrap();
    let sentence = sentence.split(" and the three timeouts").next().unwrap();
    let named: BTreeSet<&str> = sentence.split('`').skip(1).step_by(2).collect();
    // All values differ from the defaults.
    let other = br#"
        log_level = "warn"
        namegen_path = "/w"
        default_rootfs = "other"
        default_base_rootfs = "other"
        default_packages_file = "/p"
        customize_script = "/c"
        mirrors = { npm = "https://npm.example" }
        nat = true
        vcpu = 1
        memory = "1G"
        disk_size = "1G"
        system_disk_size = "1G"
        start_timeout_seconds = 1
        stop_timeout_seconds = 1
        shutdown_timeout_seconds = 1
        trash = true
        hypervisor = "qemu"
        subnet = "10.9.0.0/20"
    "#;
    let other = Config::default().parse(Path::new("other"), other).unwrap();
    let mut in_force = Config::default();
    assert_eq!(in_force.take_over(&other), ["hypervisor", "subnet"]);
    let taken: BTreeSet<&str> = Config::default()
        .differences(&in_force)
        .into_iter()
        .filter(|key| !key.ends_with("_timeout_seconds"))
        .collect();
    assert_eq!(named, taken);
}
