//! The Firecracker driver under a Firecracker that answers, refuses, stalls and dies on request.
//!
//! The stand-in is this program itself: with Firecracker's arguments it acts as Firecracker, with
//! those of a test runner it runs the tests.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod boots;
mod programs;
mod stand_in;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// One test, by its name.
macro_rules! trials {
    ($($module:ident::$name:ident,)*) => {
        vec![$(Trial::test(
            concat!(stringify!($module), "::", stringify!($name)),
            || { $module::$name(); Ok(()) },
        ),)*]
    };
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments
        .iter()
        .any(|it| it == "--api-sock" || it == "--version")
    {
        return stand_in::run(&arguments);
    }
    let tests = trials![
        boots::a_machine_is_configured_step_by_step_and_runs,
        boots::every_rejection_is_reported_in_firecrackers_words,
        boots::a_firecracker_that_stalls_at_any_step_is_ended_in_time,
        boots::a_stall_is_reported_within_five_seconds,
        boots::a_firecracker_that_dies_at_any_step_is_reported_with_its_exit,
        boots::an_invalid_answer_is_reported,
        boots::one_that_never_listens_is_reported,
        boots::leftovers_of_an_earlier_run_do_no_harm,
        boots::an_older_one_is_refused_by_what_it_says_over_its_socket,
        boots::a_path_that_is_too_long_for_a_socket_is_none_for_us,
        boots::the_power_button_is_pressed_before_its_deadline_or_never,
        programs::a_program_that_will_do_passes,
        programs::an_unsuitable_program_is_reported_with_a_hint,
        programs::a_program_that_cannot_be_started_is_reported,
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
