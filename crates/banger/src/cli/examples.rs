//! Every command of banger in the documents and in the help texts is one that banger takes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};

use super::{Cli, parse};

/// README and the pages.
fn documents() -> Vec<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = workspace.join("docs").read_dir().unwrap();
    let pages = pages.map(|page| page.unwrap().path());
    let pages = pages.filter(|page| page.extension().is_some_and(|it| it == "md"));
    pages.chain([workspace.join("README.md")]).collect()
}

/// The lines of a document's blocks of code. A line that ends with a backslash goes on.
fn lines(document: &str) -> Vec<String> {
    let blocks = document.split("\n```").skip(1).step_by(2);
    // The first line has the language.
    let text = blocks.map(|block| block.split_once('\n').map_or("", |it| it.1));
    let text: String = text.collect::<Vec<&str>>().join("\n");
    text.replace("\\\n", " ")
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The commands of banger in a line for a shell, without redirections.
fn commands(line: &str) -> Vec<Vec<OsString>> {
    // It begins where a shell has a command: what a command prints is no command.
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let Some(words) = shlex::split(line) else {
        return Vec::new();
    };
    let ends = |word: &String| ["|", "&&", "||", ";"].contains(&word.as_str());
    let mut found = Vec::new();
    for command in words.split(ends) {
        let is_variable = |word: &&String| word.contains('=') && !word.starts_with('-');
        let words = command.iter().skip_while(is_variable);
        let is_redirection = |word: &&String| {
            let operator = word.trim_start_matches(|letter: char| letter.is_ascii_digit());
            operator.starts_with(['<', '>'])
        };
        let words: Vec<OsString> = words
            .take_while(|word| !is_redirection(word))
            .map(|word| value(word).into())
            .collect();
        if words.len() > 1 && words[0] == "banger" {
            found.push(words);
        }
    }
    found
}

/// A word as the shell and the user give it: without `~`, variables, and placeholders such as `NAME`.
fn value(word: &str) -> String {
    if word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return word.to_lowercase();
    }
    let word = word.replace("~/", "/home/ada/");
    match word.split_once('$') {
        Some((before, variable)) => {
            let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            format!("{before}/value{}", variable.trim_start_matches(is_name))
        }
        None => word,
    }
}

/// Whether a command shows its form only, with parts that are left out.
fn is_a_form(words: &[OsString]) -> bool {
    words.iter().any(|word| {
        let word = word.to_string_lossy();
        word.contains(['…', '[']) || word.contains("...")
    })
}

fn refused<'l>(lines: impl Iterator<Item = &'l str>) -> (usize, Vec<String>) {
    let mut count = 0;
    let mut refused = Vec::new();
    for words in lines.flat_map(commands) {
        if is_a_form(&words) {
            continue;
        }
        count += 1;
        if let Err(wrong) = parse(&words, true) {
            refused.push(format!("{words:?}: {}", wrong.usage));
        }
    }
    (count, refused)
}

#[test]
fn every_command_of_the_documents_is_one() {
    let mut all = 0;
    for document in documents() {
        let lines = lines(&std::fs::read_to_string(&document).unwrap());
        let (count, refused) = refused(lines.iter().map(String::as_str));
        assert!(refused.is_empty(), "{}: {refused:#?}", document.display());
        all += count;
    }
    assert!(all > 150, "{all} commands are too few to be all");
}

/// The help texts of a verb and of those below it.
fn helps(command: &Command, found: &mut Vec<String>) {
    found.extend(command.get_after_help().map(ToString::to_string));
    for verb in command.get_subcommands() {
        helps(verb, found);
    }
}

#[test]
fn every_example_of_the_help_is_a_command() {
    let mut texts = Vec::new();
    helps(&Cli::command(), &mut texts);
    let lines = texts.iter().flat_map(|text| text.lines());
    // Beside an example, its meaning may stand.
    let examples = lines.map(|line| line.trim().split("   ").next().unwrap_or_default());
    let (count, refused) = refused(examples);
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(count > 50, "{count} examples are too few to be all");
}
