//! banger's command line: parse, run, report.
//!
//! Verbs send requests to the daemon and print its answers: data to standard output, the rest to
//! standard error. The exit status is 0 for success, 1 for failure, 2 for wrong usage; `vm ssh`
//! returns the command's own status.

mod age;
mod agreement;
mod all_hosts;
mod ask;
mod cli;
mod columns;
mod commands;
mod completion;
mod connect;
mod console;
mod environment;
mod escape;
mod failure;
mod global;
mod guess;
mod interrupt;
mod name_pattern;
mod output;
mod paths;
mod poll;
mod programs;
mod progress;
#[cfg(test)]
#[path = "../tests/pty/mod.rs"]
mod pty;
mod quote;
mod reader;
mod remote;
mod scope;
mod session;
mod systemd;
mod tui;
mod usage;

use std::process::ExitCode;

use environment::Environment;

fn main() -> ExitCode {
    let environment = Environment::read();
    let arguments: Vec<_> = std::env::args_os().collect();
    if completion::answer(&environment, &arguments) {
        return ExitCode::SUCCESS;
    }
    let screen = commands::tui::fits(&environment);
    match cli::parse(&arguments, screen) {
        Ok(cli) => {
            let output = output::Output::new(&cli.global, &environment);
            let outcome = cli.run(&environment, output);
            failure::report(outcome, output)
        }
        Err(wrong) => failure::report_usage(wrong),
    }
}
