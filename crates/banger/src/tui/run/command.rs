//! A command of banger behind the screen: it says nothing there, and its error is the screen's.

use std::ffi::OsString;
use std::path::Path;

use banger_api::{Code, Error, Result};

use crate::commands::doctor;
use crate::paths::Paths;
use crate::programs::{self, Interaction};
use crate::quote;

/// How many of its last lines tell why it failed.
const LINES: usize = 5;

/// Runs it to its end.
pub(super) fn run(words: &[String], places: &Paths) -> Result<()> {
    let mut line = doctor::own_program(places)?;
    line.push("--json".into());
    line.extend(words.iter().map(|it| at_home(it, places.home.as_deref())));
    let (program, arguments) = line
        .split_first()
        .ok_or_else(|| Error::new(Code::Internal, "there is no program to run"))?;
    let output = programs::run(Path::new(program), arguments, &[], Interaction::Aside)?;
    if output.done {
        return Ok(());
    }
    Err(error_of(words, &output.stderr))
}

/// A word that begins with `~/` as a path of the user's home; a shell would do so.
fn at_home(word: &str, home: Option<&Path>) -> OsString {
    let (option, path) = match word.split_once('=') {
        Some((option, path)) if option.starts_with("--") => (format!("{option}="), path),
        _ => (String::new(), word),
    };
    match (path.strip_prefix("~/"), home) {
        (Some(below), Some(home)) => {
            let mut whole = OsString::from(option);
            whole.push(home.join(below));
            whole
        }
        _ => word.into(),
    }
}

/// The error that it told, as JSON or in words.
fn error_of(words: &[String], stderr: &str) -> Error {
    let told = stderr
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok());
    told.unwrap_or_else(|| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let lines: Vec<&str> = stderr.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        Error::new(
            Code::Host,
            format!("run `banger {}`", quote::readable(&words)),
        )
        .cause(last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<String> {
        ["image", "build", "--name=dev"].map(str::to_owned).to_vec()
    }

    #[test]
    fn an_error_is_the_one_that_was_told() {
        let told = Error::new(Code::Conflict, "the name is taken").hint("another one");
        let line = serde_json::to_string(&told).unwrap();
        let error = error_of(&words(), &format!("a warning\n{line}\n"));
        assert_eq!((error.code, error.hints.len()), (Code::Conflict, 1));
        let error = error_of(&words(), "1\n2\n3\n4\n5\nno room\n");
        assert_eq!(error.message, "run `banger image build --name=dev`");
        assert_eq!(error.causes, ["2\n3\n4\n5\nno room"]);
    }

    #[test]
    fn a_path_at_home_is_one_in_an_option_too() {
        let home = Some(Path::new("/home/ada"));
        assert_eq!(at_home("~/web.banger", home), "/home/ada/web.banger");
        assert_eq!(
            at_home("--recipe=~/r.toml", home),
            "--recipe=/home/ada/r.toml"
        );
        for plain in ["web", "~bob/x", "--from=~", "a=~/b"] {
            assert_eq!(at_home(plain, home), plain);
        }
        assert_eq!(at_home("~/x", None), "~/x");
    }
}
