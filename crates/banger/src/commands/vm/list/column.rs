//! The columns of a list of VMs.

use std::fmt::Display;

use banger_api::{NetworkKind, VmView};
use clap::ValueEnum;
use jiff::Timestamp;

use super::super::description::on_or_off;
use crate::age;
use crate::output::clean;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Column {
    /// The name.
    Name,
    /// The id.
    Id,
    /// Its phase.
    Phase,
    /// Its address, or the address and port of its SSH.
    Address,
    /// Its name in the DNS.
    Dns,
    /// The virtual CPUs.
    Vcpu,
    /// The memory; in MiB in CSV.
    Memory,
    /// The size of the work disk; in MiB in CSV.
    Disk,
    /// The size of the system disk; in MiB in CSV.
    SystemDisk,
    /// Whether it has NAT.
    Nat,
    /// Its labels.
    Labels,
    /// The image that it was created from.
    Image,
    /// The kind of its network.
    Network,
    /// The hypervisor that runs it, or last ran it.
    Hypervisor,
    /// The hypervisor's process.
    Pid,
    /// When it was created.
    Created,
    /// How long ago that was; in seconds in CSV.
    Age,
    /// How long it has been running; in seconds in CSV.
    Uptime,
    /// The number of its notes.
    Notes,
    /// The ports and sockets of the host that are forwarded to it, whether it runs or not.
    Forwards,
    /// How long ago it was deleted, if it is in the trash; in seconds in CSV.
    Deleted,
}

/// The key by which a column is sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SortKey {
    /// No value, which sorts first.
    None,
    Number(i128),
    Text(String),
}

/// The columns that fit a terminal of 80 columns.
pub(super) const USUAL: [Column; 9] = [
    Column::Name,
    Column::Phase,
    Column::Address,
    Column::Vcpu,
    Column::Memory,
    Column::Disk,
    Column::Nat,
    Column::Image,
    Column::Age,
];

/// The columns for VMs in the trash.
pub(super) const OF_TRASH: [Column; 5] = [
    Column::Name,
    Column::Id,
    Column::Deleted,
    Column::Image,
    Column::Age,
];

/// The columns for a wide terminal.
pub(super) const WIDE: [Column; 14] = [
    Column::Name,
    Column::Id,
    Column::Phase,
    Column::Address,
    Column::Vcpu,
    Column::Memory,
    Column::Disk,
    Column::SystemDisk,
    Column::Nat,
    Column::Image,
    Column::Hypervisor,
    Column::Uptime,
    Column::Age,
    Column::Labels,
];

impl Column {
    /// Its heading for people.
    pub(super) fn title(self) -> String {
        self.word().to_uppercase().replace('-', " ")
    }

    /// Its heading for programs.
    pub(super) fn csv_title(self) -> String {
        let unit = match self {
            Self::Memory | Self::Disk | Self::SystemDisk => "_mib",
            Self::Age | Self::Uptime | Self::Deleted => "_seconds",
            _ => "",
        };
        self.word().replace('-', "_") + unit
    }

    fn word(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |it| it.get_name().to_owned())
    }

    /// The text of a cell for people.
    pub(super) fn cell(self, vm: &VmView, at: Timestamp) -> String {
        let (now, next) = (&vm.spec, vm.next());
        match self {
            Self::Phase => phase(vm),
            Self::Address => address(vm),
            Self::Vcpu => now_and_next(now.vcpu, next.vcpu),
            Self::Memory => now_and_next(now.memory, next.memory),
            Self::Disk => now_and_next(now.disk_size, next.disk_size),
            Self::SystemDisk => now_and_next(now.system_disk_size, next.system_disk_size),
            Self::Nat => now_and_next(on_or_off(now.nat), on_or_off(next.nat)),
            Self::Age => age::since(vm.created, at),
            Self::Uptime => vm.started.map_or_else(none, |it| age::since(it, at)),
            Self::Deleted => vm.deleted.map_or_else(none, |it| age::since(it, at)),
            Self::Labels if now.labels.is_empty() => none(),
            Self::Hypervisor if vm.hypervisor.is_none() => none(),
            Self::Pid if vm.pid.is_none() => none(),
            Self::Forwards if vm.forwards.iter().all(|it| it.reverse) => none(),
            _ => clean(&self.value(vm, at)).replace('\n', " "),
        }
    }

    /// The value of a cell for programs: settings in force, in one unit, and empty without a value.
    pub(super) fn value(self, vm: &VmView, at: Timestamp) -> String {
        let seconds = |then: Timestamp| (at.as_second() - then.as_second()).max(0).to_string();
        match self {
            Self::Name => vm.name.to_string(),
            Self::Id => vm.id.to_string(),
            Self::Phase => vm.phase.to_string(),
            Self::Address => vm.address.map(|it| it.to_string()).unwrap_or_default(),
            Self::Dns => vm.dns_name.clone(),
            Self::Vcpu => vm.spec.vcpu.to_string(),
            Self::Memory => vm.spec.memory.0.to_string(),
            Self::Disk => vm.spec.disk_size.0.to_string(),
            Self::SystemDisk => vm.spec.system_disk_size.0.to_string(),
            Self::Nat => vm.spec.nat.to_string(),
            Self::Labels => vm.spec.label_texts().join(","),
            Self::Image => vm.image.clone(),
            Self::Network => match vm.network {
                NetworkKind::Tap => "tap".to_owned(),
                NetworkKind::User => "user".to_owned(),
            },
            Self::Hypervisor => vm.hypervisor.clone().unwrap_or_default(),
            Self::Pid => vm.pid.map(|it| it.to_string()).unwrap_or_default(),
            Self::Created => vm.created.to_string(),
            Self::Age => seconds(vm.created),
            Self::Uptime => vm.started.map(seconds).unwrap_or_default(),
            Self::Notes => vm.notes.len().to_string(),
            Self::Forwards => {
                let of_host = vm.forwards.iter().filter(|it| !it.reverse);
                let places: Vec<String> = of_host.map(|it| it.listen.to_string()).collect();
                places.join(",")
            }
            Self::Deleted => vm.deleted.map(seconds).unwrap_or_default(),
        }
    }

    /// The sort key of a VM in this column: numbers by value, addresses by their numbers.
    pub(super) fn key(self, vm: &VmView, at: Timestamp) -> SortKey {
        let value = match self {
            Self::Phase => return SortKey::Number(vm.phase as i128),
            Self::Address => {
                let address = vm.address.map(|it| it.to_bits().into());
                return address.map_or(SortKey::None, SortKey::Number);
            }
            _ => self.value(vm, at),
        };
        match value.parse() {
            _ if value.is_empty() => SortKey::None,
            Ok(number) => SortKey::Number(number),
            Err(_) => SortKey::Text(value),
        }
    }
}

fn none() -> String {
    "-".to_owned()
}

/// A setting, followed by an arrow and its value from the next start on.
fn now_and_next<T: Copy + Display + PartialEq>(now: T, next: T) -> String {
    if now == next {
        return now.to_string();
    }
    format!("{now}→{next}")
}

/// The phase, or `paused`.
fn phase(vm: &VmView) -> String {
    match vm.pause_reason {
        Some(reason) => format!("paused: {reason}"),
        None if vm.paused => "paused".to_owned(),
        None => vm.phase.to_string(),
    }
}

/// The VM's address, or that of its SSH port if it has none.
fn address(vm: &VmView) -> String {
    match (vm.address, &vm.ssh) {
        (Some(address), _) => address.to_string(),
        (None, Some(ssh)) => format!("{}:{}", clean(&ssh.host), ssh.port),
        (None, None) => none(),
    }
}
