//! A machine as requests to Firecracker: a pure function.

use banger_api::{Code, Error};

use super::requests::{
    Action, BootSource, CacheType, Drive, EntropyDevice, IoEngine, MachineConfiguration,
    NetworkInterface, Request, Vsock,
};
use crate::error::Result;
use crate::machine::{Backend, DiskCache, Machine};

/// The most CPUs that Firecracker gives a machine.
pub(super) const MOST_CPUS: u32 = 32;

/// The guest's address on its vsock; each Firecracker has a vsock of its own, so that all guests
/// can have the same.
const GUEST_CID: u32 = 3;

/// What Firecracker is asked to make this machine, in order; the start is the last.
///
/// # Errors
/// `invalid` where Firecracker has no such machine.
pub(super) fn requests(machine: &Machine) -> Result<Vec<Request>> {
    if machine.vcpu > MOST_CPUS {
        return Err(Error::new(
            Code::Invalid,
            format!(
                "Firecracker gives a machine at most {MOST_CPUS} CPUs, not {}",
                machine.vcpu
            ),
        )
        .hint("set `hypervisor = \"qemu\"` in the configuration, or give the VM fewer"));
    }
    let mut requests = vec![
        Request::Machine(MachineConfiguration {
            vcpu_count: machine.vcpu,
            mem_size_mib: machine.memory_mib,
        }),
        Request::BootSource(BootSource {
            kernel_image_path: machine.kernel.clone(),
            initrd_path: machine.initramfs.clone(),
            boot_args: machine.boot_args.join(" "),
        }),
    ];
    requests.extend(machine.drives.iter().map(|drive| {
        Request::Drive(Drive {
            drive_id: word(&drive.name),
            path_on_host: drive.path.clone(),
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
        let Backend::Tap { name } = &interface.backend else {
            return Err(Error::new(
                Code::Invalid,
                "Firecracker has no user networking, only TAPs",
            )
            .hint("set `hypervisor = \"qemu\"` or `network = \"tap\"` in the configuration"));
        };
        requests.push(Request::Interface(NetworkInterface {
            iface_id: format!("eth{index}"),
            host_dev_name: name.clone(),
            guest_mac: interface.mac.clone(),
            mtu: interface.mtu,
        }));
    }
    requests.extend([
        Request::Vsock(Vsock {
            guest_cid: GUEST_CID,
            uds_path: machine.channel.clone(),
        }),
        Request::Entropy(EntropyDevice {}),
        Request::Action(Action::InstanceStart),
    ]);
    Ok(requests)
}

/// The same machine where its folder is called `folder`, seen from Firecracker's.
pub(super) fn within(machine: &Machine, folder: &str) -> Machine {
    let mut machine = machine.clone();
    let drives = machine.drives.iter_mut().filter(|drive| !drive.block);
    let paths = [
        &mut machine.kernel,
        &mut machine.initramfs,
        &mut machine.channel,
    ];
    let paths = paths.into_iter();
    for path in paths.chain(drives.map(|drive| &mut drive.path)) {
        *path = format!("{folder}/{path}");
    }
    machine
}

/// An id as Firecracker takes it: letters, digits and underscores.
fn word(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(fits).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::machine::{Drive, Interface};

    pub(in super::super) fn machine() -> Machine {
        Machine {
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

    #[test]
    fn a_machine_is_rendered_whole() {
        let requests = requests(&machine()).unwrap();
        let lines = requests.iter().map(|request| {
            let body = String::from_utf8(request.body().unwrap()).unwrap();
            format!("{} {} {body}\n", request.method(), request.path())
        });
        insta::assert_snapshot!(lines.collect::<String>());
    }

    #[test]
    fn in_a_jail_the_files_of_a_machine_are_in_its_folder_and_devices_are_where_they_were() {
        let inside = within(&machine(), "machine");
        assert_eq!(inside.kernel, "machine/vmlinux");
        assert_eq!(inside.initramfs, "machine/initramfs");
        assert_eq!(inside.channel, "machine/agent.sock");
        assert_eq!(inside.drives[0], machine().drives[0]);
        assert_eq!(inside.drives[1].path, "machine/work.img");
    }

    #[test]
    fn a_machine_that_firecracker_cannot_make_is_refused_with_the_way_out() {
        let mut many = machine();
        many.vcpu = 33;
        let error = requests(&many).unwrap_err();
        assert_eq!(error.code, Code::Invalid);
        assert!(error.hints[0].contains("qemu"), "{error:?}");
        let mut user = machine();
        user.interfaces[0].backend = Backend::User { ssh_port: 40_022 };
        let error = requests(&user).unwrap_err();
        assert!(error.message.contains("no user networking"), "{error:?}");
    }
}
