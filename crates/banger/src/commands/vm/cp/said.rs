//! What a copy prints at its end.

use std::process::ExitCode;

use banger_api::{Code, Error};
use banger_copy::Report;
use indicatif::BinaryBytes;

use crate::failure::Outcome;
use crate::output::clean;
use crate::session::Session;

/// Prints the outcome, unless standard output has an archive. Entries that failed are an error.
pub(super) fn said(session: &Session, report: &Report, is_packed: bool) -> Outcome {
    let output = session.output;
    if is_packed {
        // The archive alone is on standard output.
    } else if output.json {
        output.value(report)?;
    } else if !output.quiet {
        let links = match report.links {
            0 => String::new(),
            links => format!(", {links} links"),
        };
        let directories = match report.directories {
            0 => String::new(),
            directories => format!(", {directories} new directories"),
        };
        let (files, size) = (report.files, BinaryBytes(report.bytes));
        output.text(&format!("{files} files{directories}{links}, {size}"))?;
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
    let causes = report.problems.iter().take(8).map(|problem| {
        let path = if problem.path.is_empty() {
            "the source"
        } else {
            &problem.path
        };
        clean(&format!("{path}: {}", problem.reason))
    });
    Err(error.cause(causes.collect::<Vec<_>>().join("; ")).into())
}
