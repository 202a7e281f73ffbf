//! A machine as requests to Firecracker: a pure function.

use std::path::{Path, PathBuf};

use banger_api::{Code, Error};

use super::requests::{
    self, Action, Balloon, BootSource, CacheType, EntropyDevice, IoEngine, MachineConfiguration,
    NetworkInterface, Request, Vsock,
};
use crate::error::Result;
use crate::machine::{Backend, DiskCache, Drive, Interface, Machine};
use crate::vm::shape::Shape;

/// The maximum number of CPUs of a machine on Firecracker.
pub(super) const MOST_CPUS: u32 = 32;

/// The guest's address on its vsock. Each Firecracker has a vsock of its own, so all guests can
/// have the same address.
const GUEST_CID: u32 = 3;

/// The request for the interface with this index.
fn network_interface(index: usize, interface: &Interface) -> Result<Request> {
    let Backend::Tap { name } = &interface.backend else {
        return Err(Error::new(
            Code::Invalid,
            "Firecracker has no user networking, only TAPs",
        )
        .hint("set `hypervisor = \"qemu\"` or `network = \"tap\"` in the configuration"));
    };
    Ok(Request::Interface(NetworkInterface {
        iface_id: format!("eth{index}"),
        host_dev_name: name.clone(),
        guest_mac: interface.mac.clone(),
        mtu: interface.mtu,
    }))
}

/// The requests that make this machine, in order; the last one starts it. `folder` is the machine's
/// folder as Firecracker sees it, relative to its working directory: empty, or a name.
///
/// # Errors
/// `invalid` if Firecracker does not support such a machine.
pub(super) fn requests(machine: &Machine, folder: &Path) -> Result<Vec<Request>> {
    if machine.vcpu > MOST_CPUS {
        return Err(Error::new(
            Code::Invalid,
            format!(
                "Firecracker supports at most {MOST_CPUS} CPUs, not {}",
                machine.vcpu
            ),
        )
        .hint("set `hypervisor = \"qemu\"` in the configuration, or give the VM fewer"));
    }
    let within = |name: &Path| folder.join(name).display().to_string();
    let mut requests = vec![
        Request::Machine(MachineConfiguration {
            vcpu_count: machine.vcpu,
            mem_size_mib: machine.memory_mib,
        }),
        Request::BootSource(BootSource {
            kernel_image_path: within(machine.kernel.as_ref()),
            initrd_path: within(machine.initramfs.as_ref()),
            boot_args: machine.boot_args.join(" "),
        }),
    ];
    requests.extend(machine.drives.iter().map(|drive| {
        Request::Drive(requests::Drive {
            drive_id: word(&drive.name),
            path_on_host: within(&file_name(drive, &machine.shape)),
            is_root_device: false,
            is_read_only: drive.read_only,
            cache_type: match machine.disk_cache {
                DiskCache::Writeback => CacheType::Writeback,
                DiskCache::Unsafe => CacheType::Unsafe,
            },
            io_engine: IoEngine::Sync,
        })
    }));
    for (index, interface) in machine.interfaces.iter().enumerate() {
        requests.push(network_interface(index, interface)?);
    }
    requests.extend([
        Request::Vsock(Vsock {
            guest_cid: GUEST_CID,
            uds_path: within(machine.channel.as_ref()),
        }),
        Request::Entropy(EntropyDevice {}),
    ]);
    if !machine.shape.is_original() {
        requests.push(Request::Balloon(Balloon {
            amount_mib: 0,
            deflate_on_oom: true,
            free_page_reporting: true,
        }));
    }
    requests.push(Request::Action(Action::InstanceStart));
    Ok(requests)
}

/// The name of a drive in the machine's folder. Firecracker writes it into its snapshots and opens
/// it when it loads one, so the name must not contain the VM's id: a block device has a link with
/// the same name in each machine's folder. The original shape has the device's own path.
pub(super) fn file_name(drive: &Drive, shape: &Shape) -> PathBuf {
    match link_name(drive, shape) {
        Some(name) => name.into(),
        None => PathBuf::from(&drive.path),
    }
}

/// The name of the link to a drive that is a block device, in shapes with such links.
pub(super) fn link_name(drive: &Drive, shape: &Shape) -> Option<String> {
    (drive.block && !shape.is_original()).then(|| format!("{}.dev", drive.name))
}

/// An id in Firecracker's alphabet: letters, digits and underscores.
fn word(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(fits).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::layout;
    use crate::machine::Interface;

    pub(in super::super) fn machine() -> Machine {
        Machine {
            shape: Shape::newest(),
            name: "banger-1-00ff-aa12bb34".to_owned(),
            directory: "/state/vms/aa12bb34/machine".into(),
            owner: None,
            jailed_as: None,
            scope: None,
            vcpu: 2,
            memory_mib: 2048,
            kernel: "vmlinux".to_owned(),
            initramfs: "initramfs".to_owned(),
            boot_args: vec!["console=ttyS0".to_owned(), "panic=1".to_owned()],
            disk_cache: DiskCache::Writeback,
            drives: vec![
                Drive {
                    name: "root".to_owned(),
                    path: "/dev/banger/banger-1-00ff-aa12bb34".to_owned(),
                    block: true,
                    read_only: false,
                },
                Drive {
                    name: "work-disk".to_owned(),
                    path: "work.img".to_owned(),
                    block: false,
                    read_only: true,
                },
            ],
            interfaces: vec![Interface {
                mac: "02:ba:aa:12:bb:34".to_owned(),
                mtu: 1500,
                backend: Backend::Tap {
                    name: "bg100ffaa12bb34".to_owned(),
                },
            }],
            channel: "agent.sock".to_owned(),
            console: "console.log".to_owned(),
        }
    }

    fn rendered(shape: Shape) -> String {
        let machine = Machine { shape, ..machine() };
        let requests = requests(&machine, Path::new("")).unwrap();
        let lines = requests.iter().map(|request| {
            let body = String::from_utf8(request.body().unwrap()).unwrap();
            format!("{} {} {body}\n", request.method(), request.path())
        });
        lines.collect()
    }

    /// Guests see a change here, and snapshots of suspended guests no longer load, so a change
    /// needs a new shape ([`crate::vm::shape`]).
    #[test]
    fn the_machine_of_a_shape_never_changes() {
        insta::assert_snapshot!("shape_0", rendered(Shape::default()));
        insta::assert_snapshot!("shape_1", rendered(Shape::newest()));
    }

    #[test]
    fn a_snapshot_of_a_new_machine_names_no_vm() {
        let machine = machine();
        let id = machine.name.rsplit('-').next().unwrap();
        for drive in &machine.drives {
            let name = file_name(drive, &machine.shape);
            assert!(name.is_relative() && !name.display().to_string().contains(id));
        }
        let root = link_name(&machine.drives[0], &machine.shape);
        assert_eq!(root.as_deref(), Some(layout::machine::ROOT_DEVICE));
    }

    #[test]
    fn in_a_jail_the_files_of_a_machine_are_in_its_folder() {
        let paths = |shape: Shape| -> Vec<String> {
            let machine = Machine { shape, ..machine() };
            let requests = requests(&machine, Path::new("machine")).unwrap();
            let path = |request: &Request| match request {
                Request::BootSource(it) => Some(it.kernel_image_path.clone()),
                Request::Drive(it) => Some(it.path_on_host.clone()),
                Request::Vsock(it) => Some(it.uds_path.clone()),
                _ => None,
            };
            requests.iter().filter_map(path).collect()
        };
        assert_eq!(
            paths(Shape::newest()),
            [
                "machine/vmlinux",
                "machine/root.dev",
                "machine/work.img",
                "machine/agent.sock"
            ]
        );
        assert_eq!(
            paths(Shape::default())[1],
            "/dev/banger/banger-1-00ff-aa12bb34",
            "a device stays where it is"
        );
    }

    #[test]
    fn a_machine_that_firecracker_cannot_make_is_refused_with_the_way_out() {
        let mut many = machine();
        many.vcpu = 33;
        let error = requests(&many, Path::new("")).unwrap_err();
        assert_eq!(error.code, Code::Invalid);
        assert!(error.hints[0].contains("qemu"), "{error:?}");
        let mut user = machine();
        user.interfaces[0].backend = Backend::User { ssh_port: 40_022 };
        let error = requests(&user, Path::new("")).unwrap_err();
        assert!(error.message.contains("no user networking"), "{error:?}");
    }
}
