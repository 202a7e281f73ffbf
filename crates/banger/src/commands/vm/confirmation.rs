//! The question before data is lost.

use std::io;

use banger_api::{Code, Error};
use clap::Args;

use super::selection::Target;
use crate::ask;
use crate::failure::Failure;
use crate::output::{Output, say};

/// The number of VMs that a question names; the others are counted.
const NAMED: usize = 10;

/// The answer, given beforehand.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Confirmation {
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

impl Confirmation {
    /// Asks the user whether to `verb` these VMs. Without consent it prints on the terminal that
    /// nothing is done.
    ///
    /// # Errors
    /// If there is no terminal.
    pub(crate) fn is_given(
        self,
        output: Output,
        verb: &str,
        loss: &str,
        targets: &[Target],
    ) -> Result<bool, Failure> {
        if self.yes || targets.is_empty() {
            return Ok(true);
        }
        let question = question(verb, loss, targets);
        if !ask::somebody_is_there(output) {
            return Err(Error::new(Code::Invalid, question)
                .cause("there is no terminal to ask for confirmation")
                .hint(format!("to {verb} them without a question: --yes"))
                .into());
        }
        let agrees = ask::agrees(&question).map_err(|cause: io::Error| {
            Error::new(Code::Host, "read the answer").cause(cause.to_string())
        })?;
        if !agrees {
            say("nothing is done");
        }
        Ok(agrees)
    }
}

fn question(verb: &str, loss: &str, targets: &[Target]) -> String {
    let names: Vec<_> = targets.iter().map(|it| it.name.as_str()).collect();
    let named = names.iter().take(NAMED).copied().collect::<Vec<_>>();
    let mut named = named.join(", ");
    if names.len() > NAMED {
        named += &format!(" and {} more", names.len() - NAMED);
    }
    match names.len() {
        1 => format!("{verb} {named}? ({loss})"),
        count => format!("{verb} {count} VMs: {named}? ({loss})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_what_it_is_about() {
        let targets = |count: usize| -> Vec<Target> {
            let target = |it| Target {
                name: format!("vm-{it}"),
                reference: "web".parse().unwrap(),
                view: None,
            };
            (0..count).map(target).collect()
        };
        assert_eq!(
            question("delete", "permanently", &targets(1)),
            "delete vm-0? (permanently)"
        );
        let many = question("delete", "permanently", &targets(12));
        assert!(many.starts_with("delete 12 VMs: vm-0, vm-1, "), "{many}");
        assert!(many.ends_with("vm-9 and 2 more? (permanently)"), "{many}");
    }
}
