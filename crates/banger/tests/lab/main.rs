//! Level 6: a QEMU guest that *is* the host, driven from outside over SSH.
//!
//! On any machine, it has what its host may lack: device-mapper, systemd as the first process,
//! nested KVM, Firecracker, the root program, and a power cut. docs/lab.md describes its parts.
//!
//! `BANGER_LAB` names the folder with the payload of `tools/lab payload`; without it every test
//! here is counted as skipped. `BANGER_LAB_FULL=1` adds those that take long. The tests run one
//! after the other and share a lab. Each accepts the lab in any state, so it passes alone and in
//! any order.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::print_stderr,
    reason = "skips and what was measured are counted and read by what is printed"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts programs, and waits for what goes on outside of it"
)]

mod direct;
mod dm_snapshot;
mod firecracker;
mod full_host;
mod host;
mod inside;
mod leftovers;
mod ordinary_user;
mod output_reader;
mod package;
mod power_cut;
mod shared;
#[path = "../suite/mod.rs"]
mod suite;

use std::any::Any;
use std::panic::{catch_unwind, resume_unwind};
use std::process::ExitCode;

use ordinary_user::{jailed, node};

fn main() -> ExitCode {
    let conclusion = suite::run(suite::tests![
        direct: [
            doctor_finds_kvm_and_nothing_amiss,
            a_vm_keeps_what_was_written_and_leaves_nothing_when_deleted,
            users_without_the_root_program_learn_what_is_missing,
            a_user_without_the_root_program_still_gets_a_vm,
            a_restart_of_the_host_leaves_nothing_and_a_vm_starts_again,
            the_own_service_of_root_stops_its_vms_with_the_host,
        ],
        dm_snapshot: [
            vms_of_one_image_share_one_loop_device_and_own_their_nodes,
            a_daemon_killed_while_a_vm_starts_leaves_nothing,
            a_restart_of_the_host_leaves_nothing_and_the_vm_starts_again,
            twenty_lives_leave_nothing,
        ],
        firecracker: [
            boot_to_ready_on_qemu_and_on_firecracker,
            the_end_of_a_guest_is_reported_and_a_reboot_starts_again,
            a_guest_that_ignores_shutdown_is_ended_and_reported,
            a_killed_daemon_leaves_a_vm_running_or_nothing,
            a_killed_vmm_is_reported_and_leaves_nothing_on_the_host,
            jailed_vms_have_a_root_and_a_user_of_their_own,
            everything_inside_works_jailed_or_not,
        ],
        full_host: [
            a_vm_is_paused_before_the_host_is_full_and_goes_on_with_room,
            a_store_that_was_given_up_comes_back_with_all_that_was_synced,
        ],
        package: [a_package_is_installed_upgraded_under_a_vm_and_removed],
        ordinary_user: [
            doctor_and_the_daemon_go_through_the_root_program,
            a_vm_has_a_tap_and_nat_through_the_root_program,
            the_dns_port_is_reserved_with_and_without_a_daemon,
            vms_outlive_their_daemon_and_a_log_out,
            a_daemon_whose_root_program_is_silent_never_goes_without_it,
            a_vmm_out_of_memory_takes_no_other_with_it,
            two_users_do_not_meet,
        ],
        node: [a_node_that_was_kept_opens_no_disk_of_another_user],
        jailed: [
            a_jail_is_made_kept_and_taken_away,
            a_daemon_killed_while_a_jail_is_made_leaves_nothing,
            a_jailed_vm_is_paused_before_the_host_is_full,
            everything_inside_works_in_a_users_jail,
        ],
        ordinary_user: [
            a_restart_of_the_host_stops_vms_cleanly,
            uninstall_waits_for_vms_and_then_leaves_nothing,
        ],
        power_cut: [
            the_lab_loses_what_was_not_flushed_and_keeps_what_was,
            fsynced_data_and_what_was_answered_outlast_a_cut,
            a_disk_whose_flushes_are_dropped_does_lose_fsynced_data,
        ],
    ]);
    shared::end();
    conclusion.exit_code()
}

/// Runs a test; once more on a fresh host if the emulated CPU made a guest's kernel panic.
///
/// QEMU's emulation of nested virtualization has faults: occasionally the first instruction of a
/// guest's timer interrupt faults until its stack is full (docs/adr/0026). That is not a fault of
/// banger.
fn attempt(test: fn()) {
    let Err(panic) = catch_unwind(test) else {
        return;
    };
    if !is_emulated() || !message(panic.as_ref()).contains(EMULATED_PANIC) {
        resume_unwind(panic);
    }
    eprintln!("once more, on a fresh host: the emulated CPU made a guest's kernel panic");
    shared::end();
    test();
}

/// The guest's console line then.
const EMULATED_PANIC: &str = "Kernel panic - not syncing: Fatal exception in interrupt";

/// Whether the CPU has no virtualization of its own, by the same rule as `tools/lab`.
fn is_emulated() -> bool {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    !cpu.split_whitespace().any(|it| it == "vmx" || it == "svm")
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref().copied()).unwrap_or("")
}
