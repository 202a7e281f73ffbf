//! `banger doctor --fix`: runs the command that fixes each problem, one after the other. No command
//! goes through a shell; those that need root run with sudo, or call it themselves.

use std::ffi::OsString;

use banger_api::{CheckReport, Code, Error, Fix, Report, Result, Verdict};

use crate::ask::{somebody_is_there, yes_or_no};
use crate::output::{clean, say};
use crate::paths::Paths;
use crate::programs;
use crate::quote;
use crate::session::Session;

/// Runs the command of each check that did not pass and has one.
///
/// # Errors
/// If there is no terminal to ask, or a command cannot be started. One that fails is reported, and
/// the others are still run.
pub(super) fn all(session: &Session, report: &Report, yes: bool) -> Result<()> {
    let troubles = report
        .checks
        .iter()
        .filter(|it| it.verdict != Verdict::Pass);
    let (fixes, rest): (Vec<_>, Vec<_>) = troubles.partition(|it| it.fix.is_some());
    if !fixes.is_empty() && !yes && !somebody_is_there(session.output) {
        return Err(Error::new(
            Code::Invalid,
            "there is no terminal to ask for confirmation",
        )
        .hint("to run them unasked: banger doctor --fix --yes"));
    }
    for check in rest {
        say(format_args!("{}: no command fixes it", clean(&check.name)));
        for hint in &check.hints {
            say(format_args!("  hint: {}", clean(hint)));
        }
    }
    // Two checks may have the same command.
    let mut run: Vec<&Fix> = Vec::new();
    for check in fixes {
        let Some(fix) = check.fix.as_ref().filter(|it| !run.contains(it)) else {
            continue;
        };
        run.push(fix);
        one(session, check, fix, yes)?;
    }
    Ok(())
}

fn one(session: &Session, check: &CheckReport, fix: &Fix, yes: bool) -> Result<()> {
    let words = words(&session.places, fix)?;
    say(format_args!(
        "{}: {}",
        clean(&check.name),
        clean(&check.found)
    ));
    say(format_args!(
        "  to {}: {}",
        clean(&fix.what),
        clean(&quote::readable(&words))
    ));
    if !yes && yes_or_no("  Run it?") != Some(true) {
        return Ok(());
    }
    if !programs::attend(&words)?.success() {
        let what = clean(&fix.what);
        session
            .output
            .warning(&format!("the command to {what} failed"));
    }
    Ok(())
}

/// The command to execute: banger is this program with the same paths, and root commands run by
/// sudo.
///
/// # Errors
/// If its program is missing, or there is no way to become root.
pub(crate) fn words(places: &Paths, fix: &Fix) -> Result<Vec<OsString>> {
    let mut command = fix.command.iter().map(OsString::from);
    let program = command
        .next()
        .ok_or_else(|| Error::new(Code::Internal, "the daemon names no command"))?;
    let mut words = Vec::new();
    if program == "banger" {
        words = own_program(places)?;
    } else {
        let search = places.search.as_deref();
        if fix.root && !rustix::process::geteuid().is_root() {
            let sudo = programs::find(search, "sudo").ok_or_else(|| {
                Error::new(Code::NotReady, "root has to do this, and there is no sudo")
                    .hint("be root: su -")
            })?;
            words.push(sudo.into());
        }
        let name = program.to_string_lossy().into_owned();
        let found = programs::find(search, &name).ok_or_else(|| {
            Error::new(Code::NotReady, format!("there is no `{name}` on this host"))
        })?;
        words.push(found.into());
    }
    words.extend(command);
    Ok(words)
}

/// This program, with the options for the same paths.
///
/// # Errors
/// If its file is missing.
pub(crate) fn own_program(places: &Paths) -> Result<Vec<OsString>> {
    let own = std::env::current_exe()
        .map_err(|cause| Error::new(Code::Host, "find this program").cause(cause.to_string()))?;
    let mut words = vec![own.into()];
    let options = &places.options;
    if let Some(remote) = &places.remote {
        words.extend(["--host".into(), remote.name().into()]);
    }
    for (option, path) in [
        ("--state", &options.state),
        ("--socket", &options.socket),
        ("--config", &options.config),
        ("--bundle", &options.bundle),
    ] {
        words.extend(path.iter().flat_map(|it| [option.into(), it.into()]));
    }
    Ok(words)
}
