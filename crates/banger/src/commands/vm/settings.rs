//! The options that `create` and `set` share.

use banger_api::{LabelsPatch, Mib, VmSpecPatch, VolumeName, VolumesPatch, limits};
use clap::Args;

/// The settings of a VM.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// The number of virtual CPUs, 1 to 64.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = vcpu)]
    vcpu: Option<u32>,

    /// Memory: 4G, 2048M, or a number of MiB.
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = memory)]
    memory: Option<Mib>,

    /// The work disk, mounted at /root: 16G, 20480M, or a number of MiB.
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = disk)]
    disk_size: Option<Mib>,

    /// The system disk, mounted at /.
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = disk)]
    system_disk_size: Option<Mib>,

    /// Give the VM access to the network through this host.
    #[arg(long, conflicts_with = "no_nat")]
    nat: bool,

    /// No access beyond this host.
    #[arg(long)]
    no_nat: bool,

    /// Refuse to delete or kill the VM.
    #[arg(long, conflicts_with = "no_protect")]
    protect: bool,

    /// Allow it to be deleted and killed.
    #[arg(long)]
    no_protect: bool,

    /// Start the VM when the daemon starts after a boot of the host.
    #[arg(long, conflicts_with = "no_autostart")]
    autostart: bool,

    /// Leave it stopped then.
    #[arg(long)]
    no_autostart: bool,

    /// A label, for people and scripts; the guest does not see it. Can be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Give it a volume, mounted at a directory. Can be repeated.
    #[arg(long = "volume", value_name = "NAME:/PATH", value_parser = volume)]
    volumes: Vec<(VolumeName, String)>,
}

impl Settings {
    /// The settings that the user gave.
    pub(crate) fn patch(&self) -> VmSpecPatch {
        VmSpecPatch {
            vcpu: self.vcpu,
            memory: self.memory,
            disk_size: self.disk_size,
            system_disk_size: self.system_disk_size,
            nat: (self.nat || self.no_nat).then_some(self.nat),
            protected: (self.protect || self.no_protect).then_some(self.protect),
            autostart: (self.autostart || self.no_autostart).then_some(self.autostart),
            labels: LabelsPatch {
                add: self.labels.iter().cloned().collect(),
                remove: Vec::new(),
            },
            volumes: VolumesPatch {
                add: self.volumes.iter().cloned().collect(),
                remove: Vec::new(),
            },
        }
    }
}

fn vcpu(text: &str) -> Result<u32, String> {
    let (least, most) = (limits::VCPUS.start(), limits::VCPUS.end());
    let count = text
        .parse()
        .map_err(|_| format!("the number of vCPUs must be {least} to {most}"))?;
    limits::vcpu(count)
}

fn memory(text: &str) -> Result<Mib, String> {
    limits::memory(size(text)?)
}

/// Parses the size of a disk.
pub(crate) fn disk(text: &str) -> Result<Mib, String> {
    limits::disk(size(text)?)
}

fn volume(text: &str) -> Result<(VolumeName, String), String> {
    let (name, mount) = text.split_once(':').ok_or("write it as NAME:/PATH")?;
    let name = name
        .parse()
        .map_err(|cause: banger_api::InvalidName| cause.to_string())?;
    limits::mount(mount)?;
    Ok((name, mount.to_owned()))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    limits::label(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

fn size(text: &str) -> Result<Mib, String> {
    text.parse()
        .map_err(|cause: banger_api::InvalidSize| cause.to_string())
}
