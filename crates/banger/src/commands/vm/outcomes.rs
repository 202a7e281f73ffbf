//! The outcome for each VM: printed at once for people, as one list for programs.

use std::collections::BTreeMap;
use std::process::ExitCode;

use banger_api::{Error, Result, VmName};
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// A VM after a verb, as text.
#[derive(Debug)]
pub(crate) struct Description {
    /// Its name, which is all that `--quiet` prints.
    pub(crate) name: VmName,
    /// Its state.
    pub(crate) text: String,
    /// A warning, which is printed even with `--quiet`.
    pub(crate) warning: Option<String>,
    /// Notes for its user.
    pub(crate) notes: Vec<String>,
}

/// One VM in the list for programs.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum OutcomeView<T> {
    Done(T),
    Failed { name: String, error: Error },
}

/// The outcomes of a verb, in the order of its VMs.
#[derive(Debug)]
pub(crate) struct Outcomes<T, F> {
    output: Output,
    describe: F,
    count: usize,
    listed: Vec<(usize, OutcomeView<T>)>,
    /// The notes on several VMs, each with its VMs, printed once at the end.
    notes: BTreeMap<String, Vec<String>>,
    /// The reason why nothing more can be printed.
    mute: Option<Failure>,
}

impl<T: Serialize, F: Fn(&T, bool) -> Description> Outcomes<T, F> {
    /// No outcomes yet, of `count` VMs. `describe` gets an outcome, and whether it is the only one.
    pub(crate) fn new(output: Output, describe: F, count: usize) -> Self {
        Self {
            output,
            describe,
            count,
            listed: Vec::with_capacity(count),
            notes: BTreeMap::new(),
            mute: None,
        }
    }

    /// Takes the outcome of the VM with this number, and prints it.
    pub(crate) fn add(&mut self, number: usize, name: &str, outcome: Result<T>) {
        let listed = match outcome {
            Ok(done) => {
                if !self.output.json && self.mute.is_none() {
                    self.mute = self.print(&done).err();
                }
                OutcomeView::Done(done)
            }
            Err(mut error) => {
                if name == "all" {
                    // The word is reserved, so no VM has it as its name.
                    error = error.hint("for all VMs: --all");
                }
                if !self.output.json && self.count > 1 {
                    self.output.error(&error);
                }
                OutcomeView::Failed {
                    name: name.to_owned(),
                    error,
                }
            }
        };
        self.listed.push((number, listed));
    }

    fn print(&mut self, done: &T) -> std::result::Result<(), Failure> {
        let description = (self.describe)(done, self.count == 1);
        if self.output.quiet {
            self.output.text(description.name.as_str())?;
        } else {
            self.output.text(&description.text)?;
        }
        if let Some(warning) = &description.warning {
            self.output.warning(warning);
        }
        for note in &description.notes {
            if self.count == 1 {
                self.output.note(note);
            } else {
                let name = description.name.to_string();
                let about = self.notes.entry(without_name(note, &name)).or_default();
                about.push(name);
            }
        }
        Ok(())
    }

    /// Prints the list for programs, and how many verbs failed, after all have ended.
    pub(crate) fn end(mut self) -> Outcome {
        if let Some(failure) = self.mute {
            return Err(failure);
        }
        for (note, names) in &mut self.notes {
            names.sort();
            self.output.note(&format!("{}: {note}", names.join(", ")));
        }
        self.listed.sort_by_key(|(number, _)| *number);
        let listed: Vec<_> = self.listed.into_iter().map(|(_, it)| it).collect();
        if self.output.json {
            self.output.value(&listed)?;
        }
        let failed = listed.into_iter().filter_map(|it| match it {
            OutcomeView::Failed { name, error } => Some((name, error)),
            OutcomeView::Done(_) => None,
        });
        let (names, errors): (Vec<_>, Vec<_>) = failed.unzip();
        let Some(first) = errors.into_iter().next() else {
            return Ok(ExitCode::SUCCESS);
        };
        if self.count == 1 {
            return Err(first.into());
        }
        let summary = format!(
            "{} of {} VMs failed: {}",
            names.len(),
            self.count,
            names.join(", ")
        );
        Err(Error::new(first.code, summary).into())
    }
}

/// A note for several VMs, whose commands have `NAME` in place of one VM's name.
fn without_name(note: &str, name: &str) -> String {
    let words = note.split(' ');
    let words = words.map(|word| if word == name { "NAME" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_on_several_vms_names_none_of_them() {
        assert_eq!(
            without_name("it has no network access: banger vm set it --nat", "web"),
            "it has no network access: banger vm set it --nat"
        );
        assert_eq!(
            without_name("no network access: banger vm set web --nat", "web"),
            "no network access: banger vm set NAME --nat"
        );
    }
}
