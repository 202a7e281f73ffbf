//! banger's command line: parse, run, report.
//!
//! Every verb asks the daemon and shows what it answers: data to standard output, the rest to
//! standard error. Exit status 0 means done, 1 failed, 2 wrong usage; `vm ssh` passes the
//! command's own status on.

mod age;
mod agreement;
mod ask;
mod cli;
mod columns;
mod commands;
mod completion;
mod connect;
mod console;
mod environment;
mod failure;
mod global;
mod guess;
mod interrupt;
mod label_selector;
mod name_pattern;
mod output;
mod paths;
mod programs;
mod progress;
mod quote;
mod session;
mod systemd;

use std::process::ExitCode;

use environment::Environment;

fn main() -> ExitCode {
    let environment = Environment::read();
    let arguments: Vec<_> = std::env::args_os().collect();
    if completion::answer(&environment, &arguments) {
        return ExitCode::SUCCESS;
    }
    match cli::parse(&arguments) {
        Ok(cli) => {
            let output = output::Output::new(&cli.global, &environment);
            let outcome = cli.run(&environment, output);
            failure::report(outcome, output)
        }
        Err(wrong) => failure::report_usage(wrong),
    }
}
