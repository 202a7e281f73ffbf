//! `banger metrics`.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use banger_api::{Code, Error, Result};
use clap::Args;

use crate::failure::Outcome;
use crate::session::Session;

/// Print metrics, in Prometheus' text format.
///
/// VMs by phase, their CPUs, memory and disk usage, operations with their outcomes and durations,
/// and the host's resources.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger metrics
  banger metrics --write /var/lib/node_exporter/banger.prom")]
pub(crate) struct Metrics {
    /// Write them to this file, all at once, for node_exporter's textfile collector.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Metrics {
    /// Prints the metrics, or writes them to a file.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let text = session.daemon()?.metrics()?;
        match &self.write {
            Some(path) => replace(path, text.as_bytes())?,
            None if session.output.json => {
                session
                    .output
                    .value(&serde_json::json!({ "metrics": text }))?;
            }
            None => session.output.text(&text)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Replaces the file atomically, so that a reader never sees a part of it. It is not synced,
/// because the next minute replaces it.
fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let trouble = |cause: std::io::Error| {
        Error::new(Code::Host, format!("write `{}`", path.display())).cause(cause.to_string())
    };
    let name = path.file_name().ok_or_else(|| {
        Error::new(
            Code::Invalid,
            format!("`{}` is not the path of a file", path.display()),
        )
    })?;
    // The collector reads only names that end in `.prom`.
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let write = || {
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o644);
        options.open(&temporary)?.write_all(text)?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|cause| {
        let _ = std::fs::remove_file(&temporary);
        trouble(cause)
    })
}
