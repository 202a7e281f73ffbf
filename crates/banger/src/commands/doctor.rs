//! `banger doctor`.

mod fix;

pub(crate) use fix::{own_program, words};

use std::process::ExitCode;

use banger_api::{CheckReport, Report, Verdict};
use clap::Args;

use crate::failure::Outcome;
use crate::output::{Colour, Output, clean};
use crate::session::Session;

/// Check whether this machine has what VMs need, and say how to fix what is missing.
///
/// A start makes the same checks. Hints say how to fix each problem, often as a command. The exit status is 1 if a check fails; warnings do not count.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger doctor
  banger doctor --fix
  banger doctor --json | jq '.checks[] | select(.verdict == \"fail\")'")]
pub(crate) struct Doctor {
    /// Run the commands that fix what was found, one by one, after asking.
    #[arg(long)]
    fix: bool,

    /// Do not ask before each command.
    #[arg(long, short, requires = "fix")]
    yes: bool,
}

impl Doctor {
    /// Prints the report.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let mut report = session.daemon()?.doctor()?;
        if self.fix {
            fix::all(session, &report, self.yes)?;
            // The command may have stopped the daemon.
            let again = Session::new(session.places.clone(), session.output);
            report = again.daemon()?.doctor()?;
        }
        session
            .output
            .result(&report, || table(&report, session.output))?;
        Ok(ExitCode::from(u8::from(report.verdict() == Verdict::Fail)))
    }
}

/// One line per check, with the hints below it. Hints are never wrapped, so that they can be
/// copied.
fn table(report: &Report, output: Output) -> String {
    let width = report
        .checks
        .iter()
        .map(|check| check.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    let mut section = None;
    for check in &report.checks {
        if check.section.is_some() && check.section != section {
            section.clone_from(&check.section);
            let section = section.as_deref().unwrap_or_default();
            text += &format!("\nfor {}:\n", clean(section));
        }
        let (mark, indent) = (mark(check.verdict, output), mark_width(output) + width + 2);
        let found = clean(&check.found).replace('\n', &format!("\n{:indent$}", ""));
        text += &format!("{mark}{:width$}  {found}\n", clean(&check.name));
        for hint in &check.hints {
            let hint = clean(hint).replace('\n', &format!("\n{:indent$}      ", ""));
            text += &format!("{:indent$}hint: {hint}\n", "");
        }
    }
    text + &summary(&report.checks) + &offer(&report.checks)
}

/// The number of problems with a command that fixes them, as text.
fn offer(checks: &[CheckReport]) -> String {
    match checks.iter().filter(|check| check.fix.is_some()).count() {
        0 => String::new(),
        count => format!("{count} of them can be fixed by: banger doctor --fix\n"),
    }
}

fn mark(verdict: Verdict, output: Output) -> String {
    let (sign, word, colour) = match verdict {
        Verdict::Pass => ("✓", "pass", Colour::Green),
        Verdict::Warn => ("!", "warn", Colour::Yellow),
        Verdict::Fail => ("✗", "fail", Colour::Red),
    };
    let plain = if output.terminal { sign } else { word };
    format!("{} ", output.paint(colour, plain))
}

fn mark_width(output: Output) -> usize {
    if output.terminal { 2 } else { 5 }
}

fn summary(checks: &[CheckReport]) -> String {
    let count = |verdict| {
        checks
            .iter()
            .filter(|check| check.verdict == verdict)
            .count()
    };
    let (warned, failed) = (count(Verdict::Warn), count(Verdict::Fail));
    match (warned, failed) {
        (0, 0) => format!("\nall {} checks passed\n", checks.len()),
        (_, 0) => format!(
            "\n{} checks: {warned} with a warning, none failed\n",
            checks.len()
        ),
        _ => format!(
            "\n{} checks: {failed} failed, {warned} with a warning\n",
            checks.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use banger_api::Fix;

    use super::*;

    fn report() -> Report {
        let check = |name: &str, verdict, found: &str, hint: Option<&str>| CheckReport {
            name: name.into(),
            verdict,
            found: found.into(),
            hints: hint.map(str::to_owned).into_iter().collect(),
            fix: hint
                .map(|_| Fix::install(&["x"]))
                .filter(|_| verdict == Verdict::Fail),
            section: (name == "DNS port").then(|| "names".to_owned()),
        };
        Report {
            checks: vec![
                check("bundle", Verdict::Pass, "trixie with Linux 6.12", None),
                check(
                    "hypervisor",
                    Verdict::Warn,
                    "qemu with TCG: slow\n(no /dev/kvm)",
                    Some("sudo modprobe kvm_intel\nsudo modprobe kvm_amd"),
                ),
                check(
                    "DNS port",
                    Verdict::Fail,
                    "in use\u{1b}[2J",
                    Some("ss -lunp"),
                ),
            ],
        }
    }

    #[test]
    fn a_pipe_gets_words_and_hints_below_what_was_found() {
        let output = Output {
            json: false,
            quiet: false,
            terminal: false,
            colour: false,
            unicode: false,
        };
        insta::assert_snapshot!(table(&report(), output), @r"
        pass bundle      trixie with Linux 6.12
        warn hypervisor  qemu with TCG: slow
                         (no /dev/kvm)
                         hint: sudo modprobe kvm_intel
                               sudo modprobe kvm_amd

        for names:
        fail DNS port    in use\u{1b}[2J
                         hint: ss -lunp

        3 checks: 1 failed, 1 with a warning
        1 of them can be fixed by: banger doctor --fix
        ");
    }

    #[test]
    fn a_terminal_gets_signs() {
        let output = Output {
            json: false,
            quiet: false,
            terminal: true,
            colour: false,
            unicode: false,
        };
        let text = table(&report(), output);
        assert!(text.starts_with("✓ bundle      trixie"), "{text}");
        assert!(
            text.contains("\n! hypervisor") && text.contains("\n✗ DNS port"),
            "{text}"
        );
    }
}
