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
    for (count, one, several) in [
        (
            report.skipped,
            "device, socket or pipe was left out",
            "devices, sockets and pipes were left out",
        ),
        (
            report.changed,
            "file changed while it was copied",
            "files changed while they were copied",
        ),
    ] {
        if count > 0 {
            output.warning(&numbered(count, one, several));
        }
    }
    if report.failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let error = Error::new(
        Code::Host,
        numbered(
            report.failed,
            "entry was not copied",
            "entries were not copied",
        ),
    );
    Err(error.cause(troubles(report)).into())
}

/// The counts, in words.
pub(in crate::commands::vm) fn counts(report: &Report) -> String {
    let mut text = numbered(report.files, "file", "files");
    for (count, one, several) in [
        (report.directories, "new directory", "new directories"),
        (report.links, "link", "links"),
        (
            report.touched,
            "changed in permissions or time",
            "changed in permissions or time",
        ),
        (report.removed, "removed", "removed"),
    ] {
        if count > 0 {
            text += &format!(", {}", numbered(count, one, several));
        }
    }
    text + &format!(", {}", BinaryBytes(report.bytes))
}

/// A number, and the word for one or for several.
fn numbered(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
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
