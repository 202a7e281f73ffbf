//! The checker itself: the imports that it finds, and those that it ignores.

use super::source::Source;
use super::violations;

/// Some existing modules, and one with this text.
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
