//! `banger completion`.
//!
//! The script loads the completion from the program itself, when the shell first needs it: the
//! protocol between shell and program changes with the program, so a saved script would break at
//! the next upgrade.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::failure::Outcome;
use crate::output::Output;

/// Print a shell completion script: verbs, options, and the names of VMs and images.
#[derive(Debug, Args)]
#[command(after_help = "\
If `make install` or a package has not installed it:
  banger completion bash > ~/.local/share/bash-completion/completions/banger
  banger completion zsh > ~/.zfunc/_banger
  banger completion fish > ~/.config/fish/completions/banger.fish

For zsh, ~/.zshrc needs `fpath+=~/.zfunc` before `compinit`. bash needs the package bash-completion.")]
pub(crate) struct Completion {
    /// The shell that the script is for.
    shell: Shell,
}

/// A shell that completes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// The script that this shell loads when it first needs completions of `banger`.
    pub(super) fn loader(self) -> &'static str {
        match self {
            Self::Bash => "source <(COMPLETE=bash banger 2>/dev/null)",
            // zsh calls a file of fpath for the first Tab, so the function that the file has just
            // loaded must answer.
            Self::Zsh => {
                "\
#compdef banger
source <(COMPLETE=zsh banger 2>/dev/null)
if [ \"$funcstack[1]\" = _banger ] && (( $+functions[_clap_dynamic_completer_banger] )); then
  _clap_dynamic_completer_banger \"$@\"
fi"
            }
            Self::Fish => "COMPLETE=fish banger 2>/dev/null | source",
        }
    }

    /// The path below `share` where this shell finds the loader by itself.
    pub(super) fn installed_at(self) -> &'static str {
        match self {
            Self::Bash => "bash-completion/completions/banger",
            Self::Zsh => "zsh/site-functions/_banger",
            Self::Fish => "fish/vendor_completions.d/banger.fish",
        }
    }
}

impl Completion {
    /// Prints the loader.
    pub(crate) fn run(&self, output: Output) -> Outcome {
        output.text(self.shell.loader())?;
        Ok(ExitCode::SUCCESS)
    }
}
