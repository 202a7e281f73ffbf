//! Who may import whom: the table of ARCHITECTURE.md, held against the sources.
//!
//! Everything that a file names counts, in a `use` as in the code. What stands under
//! `#[cfg(test)]` does not.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "imports/source.rs"]
mod source;

use std::collections::BTreeSet;

use source::{Source, sources};

/// What a unit may not name.
enum Forbidden {
    /// These, and what is below them.
    These(&'static [&'static str]),
    /// Of our own crates anything but these and what is below them.
    AllBut(&'static [&'static str]),
    /// Another module of the same family: a capability another capability.
    Siblings,
    /// A module of any family: a concrete capability or driver.
    Concrete,
}

/// One row of the table.
struct Row {
    /// The modules that it is about, and all below them.
    units: &'static [&'static str],
    /// Those below them that it is not about.
    but: &'static [&'static str],
    never: Forbidden,
    /// The rule in words.
    rule: &'static str,
}

/// Our crates, as a path begins with them.
const CRATES: &[&str] = &[
    "banger_api",
    "banger_host",
    "banger_guest",
    "bangerd",
    "banger",
];

/// Modules whose children are each one way of doing a job, and strangers to each other.
const FAMILIES: &[&str] = &[
    "bangerd::capability",
    "bangerd::storage",
    "bangerd::hypervisor",
];

/// They put the parts together, and may name them all.
const ASSEMBLERS: &[&str] = &["bangerd::assemble", "bangerd::daemon"];

/// What reaches out of the program, or reads a clock.
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

/// The table of design.md section 2, one row a unit.
const TABLE: &[Row] = &[
    Row {
        units: &["banger_api", "banger_host", "banger_guest"],
        but: &[],
        never: Forbidden::AllBut(&[]),
        rule: "`banger-api`, `banger-host` and `banger-guest` import no other crate of ours",
    },
    Row {
        units: &["banger"],
        but: &[],
        never: Forbidden::AllBut(&["banger_api"]),
        rule: "`banger` speaks with the daemon through `banger-api` only",
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

/// The family and the member of it that a path leads to.
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

/// What the sources do against the table: file, line and rule.
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
fn nobody_imports_what_the_table_forbids() {
    let found = violations(&sources(CRATES));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
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

/// Some modules that there are, and one whose text is `text`.
fn with(module: &str, text: &str) -> Vec<Source> {
    let source = |module: &str, text: &str| Source {
        file: format!("{}.rs", module.replace("::", "/")),
        module: module.to_owned(),
        text: text.to_owned(),
    };
    let there = [
        "bangerd",
        "bangerd::capability",
        "bangerd::capability::nat",
        "bangerd::capability::network",
        "bangerd::storage::copy",
        "bangerd::hypervisor::qemu",
        "bangerd::vm::store",
    ];
    let mut all: Vec<Source> = there.iter().map(|it| source(it, "")).collect();
    all.push(source(module, text));
    all
}

#[test]
fn what_the_table_forbids_is_found_however_it_is_written() {
    for (module, text) in [
        (
            "bangerd::capability::nat",
            "use crate::capability::network::Network;",
        ),
        (
            "bangerd::capability::nat",
            "use super::{Capability, network::Network};",
        ),
        ("bangerd::capability::nat", "fn f() { super::network::f() }"),
        ("bangerd::capability::nat", "use crate::engine as e;"),
        ("banger::output", "use crate::cli::Global;"),
        (
            "bangerd::capability::nat",
            "use crate as all; fn f() { all::engine::f() }",
        ),
        (
            "bangerd::capability::nat",
            "pub(crate) use crate::vm::{self, store::Store};",
        ),
        ("bangerd::capability", "use network::Network;"),
        (
            "bangerd::capability::nat::deep",
            "use super::super::network;",
        ),
        (
            "bangerd::hypervisor::qemu",
            "use crate::storage::copy::Copy;",
        ),
        ("bangerd::engine::view", "use crate::capability::nat::Nat;"),
        ("bangerd::engine::view", "type A = crate::server::Shutdown;"),
        (
            "bangerd::engine",
            "mod inner { fn f() { super::super::server::f() } }",
        ),
        ("bangerd::server::routes", "use banger_host::Linux;"),
        ("bangerd::server::routes", "use crate::vm::Vm;"),
        ("bangerd::vm", "use std::{fmt, fs::File};"),
        (
            "bangerd::vm::names",
            "fn f() { let t = std::time::Instant::now(); }",
        ),
        (
            "bangerd::vm::names",
            "use std::time; fn f() { time::SystemTime::now() }",
        ),
        (
            "bangerd::vm::names",
            "fn f() { time::Instant::now() } use std::time;",
        ),
        ("bangerd::machine", "fn f(host: &dyn banger_host::Host) {}"),
        (
            "bangerd::guest::render",
            "use jiff::Timestamp; fn f() { Timestamp::now(); }",
        ),
        (
            "bangerd::vm",
            "const A: char = '\"'; use std::fs; const B: char = '\"';",
        ),
        (
            "bangerd::vm",
            "#[cfg(test)] mod tests { fn f() {} } use std::fs;",
        ),
        (
            "bangerd::vm",
            "#[cfg(test)] const N: [u8; 2] = [0; 2]; use std::fs;",
        ),
        ("banger_host", "use banger_api::Error;"),
        ("banger::cli", "use bangerd::config::Config;"),
    ] {
        let found = violations(&with(module, text));
        assert_eq!(found.len(), 1, "{module}: {text}: {found:?}");
    }
}

#[test]
fn what_the_table_allows_is_left_alone() {
    for (module, text) in [
        (
            "bangerd::capability::nat",
            "use super::Capability; use crate::storage::RootDisk;",
        ),
        (
            "bangerd::capability::nat",
            "use self::inner::A; mod inner { use super::Nat; }",
        ),
        (
            "bangerd::capability::nat",
            "// use crate::engine::Engine;\n/* /* */ crate::server::x */",
        ),
        (
            "bangerd::capability::nat",
            "const A: &str = r#\"\" crate::engine::x \"#;",
        ),
        (
            "bangerd::capability::nat",
            "#[cfg(test)] mod tests { use crate::engine::Engine; }",
        ),
        (
            "bangerd::capability::nat",
            "#[cfg(test)] use crate::engine::Engine; fn f() {}",
        ),
        (
            "bangerd::hypervisor::qemu::command_line",
            "use super::Qemu; use crate::machine::Machine;",
        ),
        (
            "bangerd::assemble",
            "use crate::capability::nat::Nat; use crate::server::Shutdown;",
        ),
        (
            "bangerd::engine::start",
            "use crate::vm::store::Store; use crate::hypervisor::Hypervisor;",
        ),
        ("bangerd::vm::store", "use banger_host::Host; use std::fs;"),
        (
            "bangerd::vm",
            "use banger_host::Owner; use std::time::Duration; use jiff::Timestamp;",
        ),
        (
            "bangerd::vm",
            "fn f<'a>(fs: &'a str) -> impl Sized + use<'a> { fs.len() }",
        ),
        (
            "bangerd::server",
            "use crate::engine::Engine; use banger_api::Error; mod reply;",
        ),
        ("banger", "use banger_api::client::Client;"),
    ] {
        let found = violations(&with(module, text));
        assert!(found.is_empty(), "{module}: {text}: {found:?}");
    }
}

#[test]
fn a_violation_names_file_line_and_rule() {
    let found = violations(&with(
        "bangerd::engine",
        "//! The verbs.\n\nuse crate::server::Shutdown;\n",
    ));
    assert_eq!(
        found,
        [
            "bangerd/engine.rs:3: `bangerd::engine` names `bangerd::server::Shutdown`, \
          but `engine` knows none of the edges that ask it"
        ]
    );
}
