//! The verbs, one a file: its options, its help, and what it does.

pub(crate) mod bundle;
pub(crate) mod completion;
pub(crate) mod daemon;
pub(crate) mod doctor;
pub(crate) mod system;
pub(crate) mod vm;

use crate::cli::{Cli, Verb};
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::output::Output;
use crate::paths::Paths;
use crate::session::Session;

/// Does what the command line asks for.
///
/// # Errors
/// What went wrong.
pub(crate) fn run(cli: Cli, environment: &Environment, output: Output) -> Outcome {
    let session = || {
        let places = Paths::find(&cli.global, environment)?;
        // Where it has no say there is nothing to tell.
        let has_say = places.wishes.socket.is_none() && places.wishes.state.is_none();
        if let Some(why) = environment.passed_over().filter(|_| has_say) {
            output.warning(why);
        }
        Ok::<_, banger_api::Error>(Session::new(places, output))
    };
    match cli.verb {
        Verb::Completion(verb) => verb.run(),
        Verb::Vm { verb } => verb.run(&session()?),
        Verb::Doctor(verb) => verb.run(&session()?),
        Verb::Daemon { verb } => verb.run(session()?),
        Verb::System { verb } => verb.run(&session()?),
        Verb::Bundle { verb } => verb.run(&session()?),
    }
}
