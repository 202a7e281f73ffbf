//! `banger config`. The daemon's program validates, reads and writes the configuration file.

mod edit;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use banger_api::configuration::Setting;
use banger_api::{Code, Error, ReloadReport, Result};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::completion;
use crate::failure::Outcome;
use crate::output::{Output, say};
use crate::programs::{self, Interaction};
use crate::session::Session;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Show(Show),
    /// Print the path of the configuration file, whether or not there is one.
    #[command(after_help = "\
Examples:
  banger config path
  cp my.toml \"$(banger config path)\"")]
    Path,
    Set(Set),
    /// Remove a setting from the file, so that the default holds again.
    #[command(after_help = "\
Examples:
  banger config unset memory")]
    Unset {
        /// The setting.
        #[arg(add = ArgValueCandidates::new(completion::keys))]
        key: String,
    },
    /// Edit the configuration file in your editor, and check it before it is saved.
    ///
    /// The editor is $VISUAL, else $EDITOR, else the system's. You edit a draft beside the file; a draft with a mistake is kept, and the file stays as it was.
    #[command(after_help = "\
Examples:
  banger config edit
  EDITOR='code --wait' banger config edit")]
    Edit,
}

/// Show every setting with its value: what a daemon that is started now would use.
///
/// Printed as a configuration file. An environment variable such as BANGER_MEMORY goes before the file, and the file before the default.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger config show
  banger config show --origin
  banger config show --json | jq '.[] | select(.origin != \"default\")'")]
pub(crate) struct Show {
    /// Say where each value comes from: default, file and line, or environment variable.
    #[arg(long)]
    origin: bool,
}

/// Set one setting in the file. Comments and everything else in it stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger config set nat true
  banger config set memory 4G
  banger config set dns 9.9.9.9,1.1.1.1")]
pub(crate) struct Set {
    /// The setting.
    #[arg(add = ArgValueCandidates::new(completion::keys))]
    key: String,
    /// Its value. Separate the items of a list by commas.
    #[arg(allow_hyphen_values = true)]
    value: String,
}

impl Verb {
    /// Does it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        match self {
            Self::Show(show) => {
                let mut words = words(session, &["show"]);
                words.extend(show.origin.then(|| "--origin".into()));
                let program = programs::find_bangerd(session.places.search.as_deref())?;
                Err(programs::become_program(program.as_os_str(), &words).into())
            }
            Self::Path => {
                let path = &session.places.location.config;
                let value = serde_json::json!({ "config": path });
                session
                    .output
                    .result(&value, || path.display().to_string())?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Set(Set { key, value }) => {
                change(session, &["set", "--", key, value])?;
                reload(session)
            }
            Self::Unset { key } => {
                change(session, &["unset", "--", key])?;
                reload(session)
            }
            Self::Edit => {
                edit::run(session)?;
                reload(session)
            }
        }
    }
}

/// Every setting that a daemon would have if it started now.
///
/// # Errors
/// The faults of the configuration.
pub(crate) fn settings(session: &Session) -> Result<Vec<Setting>> {
    let text = ask(session, &["show"])?;
    serde_json::from_str(&text).map_err(|cause| {
        Error::new(Code::Internal, "read the daemon's configuration").cause(cause.to_string())
    })
}

/// Makes the daemon's program change the file.
///
/// # Errors
/// The reason why it does not; the file is unchanged then.
pub(crate) fn change(session: &Session, words: &[&str]) -> Result<()> {
    ask(session, words).map(drop)
}

/// Makes the running daemon reload the file, and prints which settings need its next start.
fn reload(session: &Session) -> Outcome {
    let config = &session.places.location.config;
    let reloaded = match session.running_daemon()? {
        Some((client, view)) if Path::new(&view.config) == *config => Some(client.reload()?),
        _ => None,
    };
    if session.output.json {
        session
            .output
            .value(&serde_json::json!({ "config": config, "daemon": reloaded }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(reloaded) = &reloaded {
        say_reloaded(session.output, reloaded);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the reloaded settings, and those that need a restart.
pub(crate) fn say_reloaded(output: Output, reloaded: &ReloadReport) {
    if !output.quiet && !reloaded.changed.is_empty() {
        say(format_args!(
            "in force now: {}",
            reloaded.changed.join(", ")
        ));
    }
    if !reloaded.waiting.is_empty() {
        output.note(&format!(
            "{} changes at the daemon's next start; to have it now, its VMs keep running: banger \
             daemon stop",
            reloaded.waiting.join(", ")
        ));
    }
}

fn words(session: &Session, verb: &[&str]) -> Vec<OsString> {
    let places = &session.places;
    let mut words: Vec<OsString> = Vec::new();
    words.extend(session.output.json.then(|| "--json".into()));
    words.extend(places.sim.then(|| "--sim".into()));
    words.extend(["--state".into(), (&places.location.state).into()]);
    words.extend(["--config".into(), (&places.location.config).into()]);
    if let Some(bundle) = &places.options.bundle {
        words.extend(["--bundle".into(), bundle.into()]);
    }
    words.push("config".into());
    words.extend(verb.iter().map(OsString::from));
    words
}

/// Runs the daemon's program and returns its output.
fn ask(session: &Session, verb: &[&str]) -> Result<String> {
    let program = programs::find_bangerd(session.places.search.as_deref())?;
    let mut words = words(session, verb);
    if !session.output.json {
        words.insert(0, "--json".into());
    }
    let ended = programs::run(&program, &words, &[], Interaction::Silent)?;
    if ended.done {
        return Ok(ended.stdout);
    }
    let mut lines = ended.stderr.lines().rev();
    Err(lines
        .find_map(|line| serde_json::from_str::<Error>(line).ok())
        .unwrap_or_else(|| {
            Error::new(Code::Internal, "ask bangerd about the configuration").cause(ended.stderr)
        }))
}
