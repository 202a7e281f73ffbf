//! The first process of the initramfs, which prepares the guest for the image's own init.
//!
//! The order, with the reasons:
//!
//! 1. the kernel's own file systems, because everything else is found through them;
//! 2. the modules, then the root disk: checked if it has errors, mounted, grown;
//! 3. the switch to the root disk, at once, so that all later paths have the meaning that they have
//!    for the image's programs and for a user's symbolic links;
//! 4. network, further disks, files, which the image's init must find ready;
//! 5. the agent's unit, and the image's init.
//!
//! Nothing here waits for the daemon. If an essential step fails, the start ends with a line that
//! the daemon reads on the console. Any other failure is a warning, in the log and in the agent's
//! status.

mod check;
mod copy;
mod disk;
mod files;
mod grow;
mod handover;
mod login;
mod modules;
mod mounts;
mod netlink;
mod netplan;
mod network;
mod rescue;
mod root;
mod seed;
mod settings;
mod sleep;
mod superblock;

use std::fs;

use banger_guest::config::{CONFIG_PATH, GuestConfig};
use banger_guest::end;
use banger_guest::protocol::{GuestStatus, Phase};
use rustix::system::{RebootCommand, reboot};

use crate::boot_record::{BootRecord, FOLDER};
use crate::failure::{Context as _, Result};
use crate::system::port::Port;
use crate::system::{clock, console};

/// How far the guest's clock may be behind the host's time at the start, and how far ahead; it is
/// rightly ahead by the duration of the start so far.
const BEHIND_NANOS: u64 = 1_000_000_000;
const AHEAD_NANOS: u64 = 60_000_000_000;

/// The progress of the start.
struct Start {
    record: BootRecord,
    port: Option<Port>,
}

impl Start {
    /// Records a failure that does not end the start.
    fn warn(&mut self, text: String) {
        console::warn(&text);
        self.record.warnings.push(text);
    }

    /// Records the failure of a step, if it failed.
    fn try_to(&mut self, step: Result<()>) {
        if let Err(failure) = step {
            self.warn(failure.to_string());
        }
    }

    /// Answers the hello of a daemon; never waits.
    fn attend(&mut self) {
        let standing = GuestStatus {
            phase: Phase::Initramfs,
            uptime_millis: clock::uptime_millis(),
        };
        if self.port.is_none() {
            self.port = Port::open(Some(standing));
        }
        let Some(port) = &mut self.port else { return };
        for asked in port.attend(standing) {
            let answer = Err("the guest's init has not started yet".to_owned());
            port.session().answer(&asked, answer);
        }
        port.flush();
    }
}

/// Starts the guest. It does not return: the image's init takes over.
pub(crate) fn run(arguments: &[String]) -> ! {
    if let Err(failure) = start(arguments) {
        console::warn(&format!("cannot boot: {failure}"));
        console::say(&end::cannot_boot_line(&failure.to_string()));
    }
    rustix::fs::sync();
    let _ = reboot(RebootCommand::Restart);
    // All that is left is to end the first process, so that the kernel panics and restarts.
    std::process::abort();
}

/// Returns only if the guest cannot start, or after a rescue.
fn start(arguments: &[String]) -> Result<()> {
    mounts::kernel_file_systems()?;
    console::say(&end::start_line());
    let config = read_config()?;
    let mut start = Start {
        record: BootRecord::default(),
        port: None,
    };
    modules::load(&config.modules)?;
    fs::create_dir_all(FOLDER).while_doing(|| format!("make `{FOLDER}`"))?;
    if let Some(nanos) = config.clock_unix_nanos {
        start.try_to(set_clock(nanos));
    }
    root::wait_for(&config.root.device)?;
    start.attend();
    if config.rescue {
        return rescue::run(&config.root.device);
    }
    let grown = root::mount(&config.root.device)?;
    start.try_to(grown);
    start.attend();
    handover::install_program()?;
    root::switch()?;
    start.record.mounts.push("/".to_owned());
    prepare(&config, &mut start)?;
    hand_over(arguments, start)
}

/// The steps in the guest's own tree.
fn prepare(config: &GuestConfig, start: &mut Start) -> Result<()> {
    if let Some(network) = &config.network {
        start.try_to(network::configure(network));
    }
    for disk in &config.disks {
        let warning = disk::mount(disk)?;
        start.record.mounts.push(disk.mount.clone());
        start.try_to(warning);
        start.attend();
    }
    for failure in settings::write(config)
        .into_iter()
        .chain(files::write(config))
    {
        start.warn(failure.to_string());
    }
    start.try_to(sleep::forbid());
    mounts::for_programs();
    start.attend();
    Ok(())
}

fn hand_over(arguments: &[String], mut start: Start) -> Result<()> {
    start.attend();
    // The agent opens the port next, and only one process at a time can.
    start.port = None;
    start
        .record
        .write()
        .while_doing(|| "write the boot record".to_owned())?;
    handover::hand_over(arguments)
}

fn read_config() -> Result<GuestConfig> {
    let json = fs::read(CONFIG_PATH).while_doing(|| format!("read `{CONFIG_PATH}`"))?;
    GuestConfig::from_json(&json).while_doing(|| format!("read `{CONFIG_PATH}`"))
}

fn set_clock(given: u64) -> Result<()> {
    let ours = clock::unix_nanos();
    let is_right =
        ours.saturating_add(BEHIND_NANOS) >= given && ours <= given.saturating_add(AHEAD_NANOS);
    if is_right {
        return Ok(());
    }
    clock::set(given).while_doing(|| "set the clock".to_owned())
}
