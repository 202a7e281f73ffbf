//! The options that `create` and `set` share.

use banger_api::Mib;
use clap::Args;

/// What a VM may have.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// The number of virtual CPUs.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) vcpu: Option<u32>,

    /// Memory: 4G, 2048M, or a number of MiB.
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub(crate) memory: Option<Mib>,

    /// The work disk, mounted at /root: 16G, 20480M, or a number of MiB.
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub(crate) disk_size: Option<Mib>,

    /// The system disk, mounted at /.
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true)]
    pub(crate) system_disk_size: Option<Mib>,

    /// Let the VM reach the outside through this machine.
    #[arg(long, conflicts_with = "no_nat")]
    nat: bool,

    /// Keep it from the outside; this machine still reaches it.
    #[arg(long)]
    no_nat: bool,
}

impl Settings {
    /// What was said of NAT, if anything.
    pub(crate) fn nat(&self) -> Option<bool> {
        (self.nat || self.no_nat).then_some(self.nat)
    }
}
