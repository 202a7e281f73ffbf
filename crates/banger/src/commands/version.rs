//! `banger version`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use banger_api::API_VERSION;
use clap::Args;
use serde::Serialize;

use crate::failure::Outcome;
use crate::output::Output;

/// The list of files of `make install`, relative to the folder of the programs.
const INSTALLED: &str = "../share/banger/installed";
/// dpkg's list of the package's files.
const PACKAGED: &str = "/var/lib/dpkg/info/banger.list";

/// Print the version, and how this program was installed.
#[derive(Debug, Args)]
pub(crate) struct Version {}

/// How a program was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Installation {
    /// `make install`.
    Make,
    /// The Debian package.
    Package,
    /// `make build` or cargo, and not installed.
    Checkout,
    /// By neither, such as a copied file.
    Copied,
}

/// The description of the program.
#[derive(Debug, Serialize)]
struct VersionReport {
    version: &'static str,
    api: u32,
    program: PathBuf,
    installed_by: Installation,
}

impl Version {
    /// Prints it.
    pub(crate) fn run(&self, output: Output) -> Outcome {
        let program = std::env::current_exe().unwrap_or_default();
        let report = VersionReport {
            version: env!("CARGO_PKG_VERSION"),
            api: API_VERSION,
            installed_by: installation(&program),
            program,
        };
        output.result(&report, || text(&report))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn installation(program: &Path) -> Installation {
    let folder = program.parent().unwrap_or(Path::new("/"));
    let is_made = |folder: &Path| folder.ends_with("release") || folder.ends_with("debug");
    if folder.join(INSTALLED).is_file() {
        Installation::Make
    } else if folder == Path::new("/usr/bin") && Path::new(PACKAGED).is_file() {
        Installation::Package
    } else if folder.ends_with("target/dist") || is_made(folder) {
        Installation::Checkout
    } else {
        Installation::Copied
    }
}

fn text(report: &VersionReport) -> String {
    let place = report.program.display();
    let how = match report.installed_by {
        Installation::Make => "by make install; upgrade with the same in a newer checkout",
        Installation::Package => {
            "by the Debian package; upgrade with apt install ./banger_VERSION.deb"
        }
        Installation::Checkout => "run from where it was built; install with make install",
        Installation::Copied => "neither by make install nor by the Debian package",
    };
    format!("banger {}\n{place}\n{how}", report.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installation_is_told_by_the_files_around_the_program() {
        let prefix = tempfile::tempdir().unwrap();
        let program = prefix.path().join("bin/banger");
        assert_eq!(installation(&program), Installation::Copied);
        for folder in ["bin", "share/banger"] {
            std::fs::create_dir_all(prefix.path().join(folder)).unwrap();
        }
        std::fs::write(prefix.path().join("share/banger/installed"), "").unwrap();
        assert_eq!(installation(&program), Installation::Make);
        for folder in ["/src/target/dist", "/src/target/debug"] {
            assert_eq!(
                installation(&Path::new(folder).join("banger")),
                Installation::Checkout
            );
        }
    }
}
