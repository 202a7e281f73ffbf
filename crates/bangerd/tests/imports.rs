//! The import rules: the table of ARCHITECTURE.md, checked against the sources.
//!
//! Every path in a file counts, in a `use` as in the code, except under `#[cfg(test)]`.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "imports/checker_tests.rs"]
mod checker_tests;
#[path = "imports/source.rs"]
mod source;

use std::collections::BTreeSet;

use source::{Source, sources};

/// The modules that a unit must not name.
enum Forbidden {
    /// These, and what is below them.
    These(&'static [&'static str]),
    /// All of our own crates except these modules and those below them.
    AllBut(&'static [&'static str]),
    /// Another module of the same family: a capability another capability.
    Siblings,
    /// A module of any family: a concrete capability or driver.
    Concrete,
}

/// One row of the table.
struct Row {
    /// The modules that the row applies to, with all below them.
    units: &'static [&'static str],
    /// The modules below them that it does not apply to.
    but: &'static [&'static str],
    never: Forbidden,
    /// The rule, as text.
    rule: &'static str,
}

/// Our crates, by the first component of their paths.
const CRATES: &[&str] = &[
    "banger_api",
    "banger_copy",
    "banger_host",
    "banger_guest",
    "bangerd",
    "banger",
    "banger_mcp",
];

/// Modules whose children each implement one job, and must not name each other.
const FAMILIES: &[&str] = &[
    "bangerd::capability",
    "bangerd::storage",
    "bangerd::hypervisor",
];

/// Modules that put the parts together, and may name all of them.
const ASSEMBLERS: &[&str] = &["bangerd::assemble", "bangerd::daemon"];

/// Paths that reach outside the program, or read a clock.
const OUTSIDE: &[&str] = &[
    "banger_host::Host",
    "banger_host::Look",
    "banger_host::Linux",
    "banger_host::Sim",
    "banger_host::command",
    "jiff::Timestamp::now",
    "jiff::Zoned",
    "rustix",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os::unix::fs",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "bangerd::engine",
    "bangerd::guest::channel",
    "bangerd::server",
    "bangerd::vm::store",
];

/// The table, with one row for each unit.
const TABLE: &[Row] = &[
    Row {
        units: &["banger_api", "banger_copy", "banger_host"],
        but: &[],
        never: Forbidden::AllBut(&[]),
        rule: "`banger-api`, `banger-copy` and `banger-host` import no other crate of ours",
    },
    Row {
        units: &["banger_guest"],
        but: &[],
        never: Forbidden::AllBut(&["banger_copy"]),
        rule: "`banger-guest` imports `banger-copy` only",
    },
    Row {
        units: &["banger"],
        but: &[],
        never: Forbidden::AllBut(&["banger_api", "banger_copy"]),
        rule: "`banger` speaks with the daemon through `banger-api`, and with guests as `banger-copy` does",
    },
    Row {
        units: &["banger_mcp"],
        but: &[],
        never: Forbidden::AllBut(&["banger_api"]),
        rule: "`banger-mcp` speaks with the daemon through `banger-api` only",
    },
    Row {
        units: &[
            "banger::commands",
            "banger::connect",
            "banger::failure",
            "banger::output",
            "banger::paths",
            "banger::progress",
            "banger::session",
        ],
        but: &[],
        never: Forbidden::These(&["banger::cli"]),
        rule: "only the program's `main` names `cli`, which names every verb",
    },
    Row {
        units: &[
            "bangerd::vm",
            "bangerd::machine",
            "bangerd::plan",
            "bangerd::guest::config",
            "bangerd::guest::render",
        ],
        but: &["bangerd::vm::store"],
        never: Forbidden::These(OUTSIDE),
        rule: "`vm`, `machine`, `plan` and `guest::{config, render}` are pure: no host, files, threads, clock",
    },
    Row {
        units: &[
            "bangerd::capability",
            "bangerd::storage",
            "bangerd::hypervisor",
            "bangerd::image",
            "bangerd::download",
        ],
        but: &[],
        never: Forbidden::These(&["bangerd::engine", "bangerd::server", "bangerd::vm::store"]),
        rule: "`capability`, `storage`, `hypervisor`, `image` and `download` know neither `engine` nor `server` nor `vm::store`",
    },
    Row {
        units: FAMILIES,
        but: &[],
        never: Forbidden::Siblings,
        rule: "a capability never imports another capability, a driver never another driver",
    },
    Row {
        units: &["bangerd"],
        but: ASSEMBLERS,
        never: Forbidden::Concrete,
        rule: "only `assemble` names a concrete capability or driver",
    },
    Row {
        units: &["bangerd::engine"],
        but: &[],
        never: Forbidden::These(&["bangerd::server", "bangerd::resolver"]),
        rule: "`engine` knows none of the edges that ask it",
    },
    Row {
        units: &["bangerd::server"],
        but: &[],
        never: Forbidden::AllBut(&["bangerd::engine", "banger_api"]),
        rule: "`server` imports `engine` and the API, and takes no decisions",
    },
];

/// Whether `path` is `above` or lies below it.
fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_within_any(path: &str, above: &[&str]) -> bool {
    above.iter().any(|it| is_within(path, it))
}

/// The family and its member that a path leads to.
fn member<'p>(path: &'p str, modules: &BTreeSet<String>) -> Option<(&'static str, &'p str)> {
    let family = FAMILIES.iter().find(|family| is_within(path, family))?;
    let name = path.get(family.len() + 2..)?.split("::").next()?;
    modules
        .contains(&format!("{family}::{name}"))
        .then_some((*family, name))
}

impl Row {
    fn forbids(&self, by: &str, path: &str, modules: &BTreeSet<String>) -> bool {
        if !is_within_any(by, self.units) || is_within_any(by, self.but) {
            return false;
        }
        let is_own_unit = self
            .units
            .iter()
            .any(|unit| is_within(by, unit) && is_within(path, unit));
        let (from, to) = (member(by, modules), member(path, modules));
        let is_sibling = |to: (&str, &str)| is_within(by, to.0) && from != Some(to);
        match self.never {
            Forbidden::These(list) => is_within_any(path, list) && !is_own_unit,
            Forbidden::AllBut(list) => {
                is_within_any(path, CRATES) && !is_own_unit && !is_within_any(path, list)
            }
            Forbidden::Siblings => to.is_some_and(is_sibling),
            Forbidden::Concrete => to.is_some_and(|to| from != Some(to) && !is_sibling(to)),
        }
    }
}

/// The violations of the table in the sources: file, line and rule.
fn violations(sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<String> = sources.iter().map(|it| it.module.clone()).collect();
    let mut found = BTreeSet::new();
    for source in sources {
        for named in source.names(&modules) {
            for row in TABLE {
                if row.forbids(&named.by, &named.path, &modules) {
                    found.insert(format!(
                        "{}:{}: `{}` names `{}`, but {}",
                        source.file, named.line, named.by, named.path, row.rule
                    ));
                }
            }
        }
    }
    found.into_iter().collect()
}

#[test]
fn no_module_imports_what_the_table_forbids() {
    let found = violations(&sources(CRATES));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The terms of single capabilities or drivers.
const FEATURES: &[&str] = &[
    "nat",
    "tap",
    "jail",
    "jailed",
    "dm",
    "firecracker",
    "qemu",
    "uid",
    "NetworkKind",
];

#[test]
fn the_engine_names_no_feature() {
    let engine = sources(CRATES).into_iter();
    let engine = engine.filter(|it| it.module.starts_with("bangerd::engine"));
    let mut found = Vec::new();
    for Source { file, text, .. } in engine {
        for (line, text) in (1..).zip(text.lines()) {
            let mut words = text.split(|it: char| !it.is_alphanumeric());
            if words.any(|word| FEATURES.iter().any(|it| it.eq_ignore_ascii_case(word))) {
                found.push(format!("{file}:{line}: {text}"));
            }
        }
    }
    assert!(
        found.is_empty(),
        "ask capabilities instead:\n{}",
        found.join("\n")
    );
}

#[test]
fn every_unit_of_the_table_exists() {
    let sources = sources(CRATES);
    let rows = TABLE.iter().flat_map(|row| row.units.iter().chain(row.but));
    for unit in rows.chain(FAMILIES).chain(ASSEMBLERS) {
        assert!(
            sources.iter().any(|it| it.module == *unit),
            "there is no `{unit}`"
        );
    }
}
