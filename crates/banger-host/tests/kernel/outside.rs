//! The part on the machine of the tests: it collects what the cases need, and counts the results.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::machine::{self, Disk};

/// The programs that every case needs, which the bundle's root file system lacks.
const PROGRAMS: [&str; 2] = ["/usr/sbin/e2fsck", "/usr/sbin/mke2fs"];

pub(crate) fn run(measure: bool) -> ExitCode {
    let bundle = match needs() {
        Ok(bundle) => bundle,
        Err(reason) => {
            eprint(&format!("SKIPPED: kernel: {reason}"));
            println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
            return ExitCode::SUCCESS;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let disks = if measure {
        vec![Disk::ext4(folder.path(), "state", 4096)]
    } else {
        vec![
            Disk::ext4(folder.path(), "state", 1024),
            Disk::ext4(folder.path(), "small", 48),
        ]
    };
    let words = if measure { "measure" } else { "" };
    let archive = machine::initramfs(&bundle, &PROGRAMS);
    let console = machine::run(&bundle, folder.path(), &archive, &disks, words);
    if measure {
        let lines = console
            .lines()
            .filter_map(|line| line.strip_prefix("measured: "));
        lines.for_each(|line| println!("{line}"));
        if console.contains("cases done") {
            return ExitCode::SUCCESS;
        }
        println!("the machine did not come to its end:\n{console}");
        return ExitCode::FAILURE;
    }
    count(&console)
}

#[expect(
    clippy::print_stderr,
    reason = "whoever runs the tests counts these lines"
)]
fn eprint(line: &str) {
    eprintln!("{line}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bundle is named by who runs the tests"
)]
fn needs() -> Result<PathBuf, String> {
    let Some(bundle) = std::env::var_os("BANGER_TEST_BUNDLE").map(PathBuf::from) else {
        return Err("no bundle; run tools/test boot".to_owned());
    };
    for file in [bundle.join("vmlinux"), bundle.join("modules/modules.dep")] {
        if !file.is_file() {
            return Err(format!("there is no `{}`", file.display()));
        }
    }
    for program in PROGRAMS.iter().chain([&machine::QEMU]) {
        if !Path::new(program).is_file() {
            return Err(format!("there is no `{program}`"));
        }
    }
    Ok(bundle)
}

/// Prints the results of the cases, in the format of the test harness.
fn count(console: &str) -> ExitCode {
    let cases: Vec<(&str, &str)> = console
        .lines()
        .filter_map(|line| line.strip_prefix("case ")?.split_once(": "))
        .collect();
    let mut failed = 0;
    for (name, outcome) in &cases {
        if outcome.starts_with("ok") {
            println!("test kernel::{name} ... {outcome}");
        } else {
            println!("test kernel::{name} ... FAILED\n    {outcome}");
            failed += 1;
        }
    }
    if !console.contains("cases done") {
        println!(
            "test kernel::all ... FAILED\n    the machine did not come to its end:\n{console}"
        );
        failed += 1;
    } else if failed > 0 {
        println!("{console}");
    }
    let passed = cases.len() - failed.min(cases.len());
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
