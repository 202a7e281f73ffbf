//! What a copy prints at its end.

use std::process::ExitCode;

use banger_api::{Code, Error};
use banger_copy::Report;
use indicatif::BinaryBytes;

use crate::failure::Outcome;
use crate::output::clean;
use crate::session::Session;

/// Prints the outcome, unless standard output has an archive. Entries that failed are an error.
pub(in crate::commands::vm) fn said(
    session: &Session,
    report: &Report,
    is_packed: bool,
) -> Outcome {
    let output = session.output;
    if is_packed {
        // The archive alone is on standard output.
    } else if output.json {
        output.value(report)?;
    } else if !output.quiet {
        output.text(&counts(report))?;
    }
    for (count, what) in [
        (report.skipped, "devices, sockets and pipes were left out"),
        (report.changed, "files changed while they were copied"),
    ] {
        if count > 0 {
            output.warning(&format!("{count} {what}"));
        }
    }
    if report.failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let error = Error::new(
        Code::Host,
        format!("{} entries were not copied", report.failed),
    );
    Err(error.cause(troubles(report)).into())
}

/// The counts, in words.
pub(in crate::commands::vm) fn counts(report: &Report) -> String {
    let mut text = format!("{} files", report.files);
    for (count, what) in [
        (report.directories, "new directories"),
        (report.links, "links"),
        (report.touched, "changed in permissions or time"),
        (report.removed, "removed"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text + &format!(", {}", BinaryBytes(report.bytes))
}

/// The first entries that failed, and why.
pub(in crate::commands::vm) fn troubles(report: &Report) -> String {
    let causes = report.problems.iter().take(8).map(|problem| {
        let path = if problem.path.is_empty() {
            "the source"
        } else {
            &problem.path
        };
        clean(&format!("{path}: {}", problem.reason))
    });
    causes.collect::<Vec<_>>().join("; ")
}
