//! `banger integration`, a hidden verb for `tools/install`: the files of an installation besides
//! the programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use banger_api::{Code, Error, Result};
use clap::{Args, Command};

use super::completion::Shell;
use super::system;
use crate::failure::Outcome;

/// The programs that users do not run themselves, and their manual pages.
const TOLD_ELSEWHERE: [(&str, &str); 3] = [
    ("bangerd", "banger-daemon"),
    ("banger-root", "banger-system"),
    ("banger-guest", "banger-bundle-build"),
];

/// Write what an installation has beside the programs: man pages, completion loaders and the daemon's unit.
#[derive(Debug, Args)]
pub(crate) struct Integration {
    /// The parent of the folder `share`.
    into: PathBuf,

    /// The folder of the installed programs.
    #[arg(long, value_name = "DIR", default_value = "/usr/local/bin")]
    programs: PathBuf,
}

impl Integration {
    /// Writes the files.
    pub(crate) fn run(&self, command: Command) -> Outcome {
        let share = self.into.join("share");
        let man = share.join("man/man1");
        make(&man)?;
        let pages = clap_mangen::generate_to(command, &man);
        pages.map_err(|cause| trouble(&man, &cause))?;
        for (program, page) in TOLD_ELSEWHERE {
            let path = man.join(format!("{program}.1"));
            write(&path, &format!(".so man1/{page}.1\n"))?;
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = format!("{}\n", shell.loader());
            write(&share.join(shell.installed_at()), &text)?;
        }
        let unit = system::unit_text(&self.programs.join("bangerd"));
        write(&share.join("systemd/user/bangerd.service"), &unit)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    make(path.parent().unwrap_or(Path::new("/")))?;
    fs::write(path, text).map_err(|cause| trouble(path, &cause))
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|cause| trouble(folder, &cause))
}

fn trouble(path: &Path, cause: &std::io::Error) -> Error {
    Error::new(Code::Host, format!("write `{}`", path.display())).cause(cause.to_string())
}
