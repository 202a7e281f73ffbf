//! Level 5: real VMs, driven through the real CLI and the real daemon.
//!
//! Boots are slow without KVM, so the tests share guests, which are created on first use and
//! deleted after the last test. Each test accepts a guest in any state, so it passes alone, in any
//! order, and beside other VMs of banger. `BANGER_TEST_BUNDLE` names a bundle; without it, or
//! without root, every test here is counted as skipped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "skips are counted by what is printed")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts programs, and waits for what goes on outside of it"
)]

mod another_machine;
mod copies;
mod debian;
mod full_host;
mod images;
mod inside;
mod leftovers;
mod network;
mod ordinary_user;
#[path = "../pty/mod.rs"]
mod pty;
mod root_helper;
mod screen;
mod sessions;
mod shared;
#[path = "../sshd/mod.rs"]
mod sshd;
mod streams;
#[path = "../suite/mod.rs"]
mod suite;
mod user_networking;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    if world::lacking().is_none() {
        leftovers::sweep();
    }
    let conclusion = suite::run(suite::tests![
        full_host: [
            a_full_host_loses_nothing_of_a_vm_that_writes,
            stop_and_delete_work_where_not_one_block_is_free,
        ],
        images: [an_image_with_a_guest_program_of_its_own_boots_with_the_daemons],
        debian: [
            a_login_in_the_first_second_has_its_session_and_sees_no_notice,
            services_of_a_user_who_lingers_run_without_a_login,
            what_documents_name_is_there,
            the_full_name_ends_in_vm,
            terminals_of_today_are_known,
            no_locale_of_the_host_makes_a_program_complain,
            a_guest_cannot_be_put_to_sleep,
            nothing_is_masked_that_a_package_brings,
            a_tunnels_resolvers_stay_until_it_goes,
            names_resolve_with_systemd_resolved_and_without_it_again,
            a_missing_disk_in_fstab_does_not_prevent_logins,
            installing_a_kernel_prints_which_one_boots,
            the_least_memory_is_enough_and_a_tiny_disk_becomes_large,
        ],
        ordinary_user: [an_ordinary_user_has_vms_on_user_networking],
        root_helper: [an_ordinary_user_has_taps_nat_and_names_through_root],
        inside: [
            a_command_runs_with_exactly_its_arguments_and_its_status,
            a_command_needs_no_network,
            a_guest_that_runs_out_of_memory_says_so,
            files_go_there_and_back,
            a_port_of_this_machine_leads_to_the_guest,
            a_guests_port_ends_with_its_client_and_outlives_the_daemon_that_holds_it,
        ],
        shared: [
            each_vmm_runs_as_an_unprivileged_user_of_its_own,
            the_guest_reaches_the_outside_with_nat_only,
            the_name_of_a_vm_is_answered_and_no_other,
            guests_do_not_reach_each_other_nor_the_host,
            a_flushed_rule_set_is_put_back,
            vms_and_their_sessions_outlive_a_killed_daemon,
            a_killed_agent_and_broken_conversations_change_nothing,
            memory_pressure_of_a_session_leaves_the_agent_alone,
            the_agent_answers_while_a_shutdown_hangs,
            a_panic_is_reported_and_a_reboot_starts_again,
            everything_persists_and_disks_grow,
            poweroff_in_the_guest_ends_as_stopped,
            delete_leaves_nothing_on_the_host,
        ],
        another_machine: [a_guest_of_another_machine_is_reached_with_the_clients_own_key],
        copies: [
            archives_and_trees_reach_a_guest_without_a_network,
            a_copy_that_is_cut_off_has_no_half_file_and_the_next_one_completes_it,
            a_gigabyte_goes_both_ways,
        ],
        streams: [
            a_hundred_commands_at_once_and_clients_killed_at_any_moment_leave_nothing,
            a_daemon_killed_during_commands_ends_them_and_their_clients,
            thousands_of_short_commands_leave_nothing,
        ],
        screen: [the_screen_measures_a_guest_and_opens_a_shell_in_it],
        sessions: [
            a_vm_that_stops_or_is_killed_or_deleted_ends_its_sessions,
            a_command_that_a_signal_ends_gives_128_and_its_number,
            two_mebibytes_of_arguments_arrive,
            a_terminal_is_given_to_a_script,
            a_session_that_is_cut_off_leaves_no_command_running,
            fifty_sessions_at_once_all_succeed,
            connections_that_never_log_in_do_not_lock_the_owner_out,
        ],
    ]);
    world::end_shared();
    conclusion.exit_code()
}

/// Runs a test.
fn attempt(test: fn()) {
    test();
}
