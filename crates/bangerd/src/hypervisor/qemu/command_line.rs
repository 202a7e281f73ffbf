//! QEMU's arguments for a machine: a pure function.

use crate::layout::machine::{GUEST_SOCKET, OUTSIDE_SOCKET, SHARE, STREAMS};
use crate::machine::{Backend, DiskCache, Drive, Interface, Machine};
use crate::vm::shape::Shape;

/// One thread for all vCPUs. With a thread each, a vCPU sometimes runs an instruction that another
/// vCPU has replaced, and the guest's kernel, which patches itself, panics (docs/adr/0026).
const EMULATED: &str = "tcg,thread=single";

/// The response of a disk to errors of the host. A failed write stops the machine and is repeated
/// when the machine resumes, so a full disk or a quota is hidden from the guest (docs/storage.md).
/// A failed read is reported to the guest, since waiting does not help.
const ERRORS: &str = "werror=stop,rerror=report";

/// The slots on the PCI bus for the devices of a shape; the bus has 31. Slot 0 is the host bridge,
/// 31 the chipset.
mod slot {
    pub(super) const RANDOM: usize = 0x01;
    pub(super) const BALLOON: usize = 0x02;
    pub(super) const SERIAL: usize = 0x03;
    /// The first of 8.
    pub(super) const INTERFACE: usize = 0x08;
    /// The first of 15.
    pub(super) const DISK: usize = 0x10;
}

/// The arguments, without the program's name. Commas within a list of options are doubled, as QEMU
/// reads them.
pub(super) fn arguments(machine: &Machine, kvm: bool, tap_descriptor: i32) -> Vec<String> {
    let shape = &machine.shape;
    let mut arguments = Arguments::default();
    // An argument of its own, without `guest=`, because the process is found by it.
    arguments.add("-name", escaped(&machine.name));
    arguments.add("-machine", machine_type(shape));
    arguments.add("-accel", if kvm { "kvm" } else { EMULATED });
    arguments.add("-cpu", if kvm { "host" } else { emulated_cpu(shape) });
    arguments.add("-smp", machine.vcpu.to_string());
    arguments.add("-m", format!("{}M", machine.memory_mib));
    for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        arguments.0.push(flag.to_owned());
    }
    arguments.add("-display", "none");
    arguments.add(
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    );
    arguments.add("-kernel", machine.kernel.clone());
    arguments.add("-initrd", machine.initramfs.clone());
    arguments.add("-append", machine.boot_args.join(" "));
    // Its standard input and output are the console's files (`boot`), and a typed ^C is for the
    // guest.
    arguments.add("-chardev", "stdio,id=console,signal=off");
    arguments.add("-serial", "chardev:console");
    arguments.add(
        "-qmp",
        format!("unix:{},server=on,wait=off", crate::layout::machine::QMP),
    );
    let place = at(shape, "random", slot::RANDOM);
    arguments.add("-device", format!("virtio-rng-pci{place}"));
    for (index, drive) in machine.drives.iter().enumerate() {
        arguments.disk(index, drive, machine);
    }
    for (index, interface) in machine.interfaces.iter().enumerate() {
        arguments.interface(index, interface, shape, tap_descriptor);
    }
    arguments.ports(machine);
    if !shape.is_original() {
        let place = at(shape, "balloon", slot::BALLOON);
        arguments.add(
            "-device",
            format!("virtio-balloon-pci,free-page-reporting=on,deflate-on-oom=on{place}"),
        );
        arguments.add("-device", "vmgenid,id=generation,guid=auto");
    }
    arguments.0
}

/// The machine type. It omits the parts of a chipset that no guest of ours uses, which leaves less
/// to attack.
fn machine_type(shape: &Shape) -> String {
    let unused = if shape.is_original() {
        ""
    } else {
        ",sata=off,smbus=off,vmport=off"
    };
    format!("{}{unused}", shape.machine_type)
}

/// An emulated CPU has everything that TCG supports, except 57-bit addresses and `erms`: `erms`
/// recommends `rep movsb` for copying memory, which is slower here than plain loads and stores.
fn emulated_cpu(shape: &Shape) -> &'static str {
    if shape.is_original() {
        "max,la57=off"
    } else {
        "max,la57=off,erms=off"
    }
}

/// The id and slot of a device on the PCI bus, as further options. The original shape leaves both
/// to QEMU.
fn at(shape: &Shape, id: &str, slot: usize) -> String {
    if shape.is_original() {
        String::new()
    } else {
        format!(",id={id},addr={slot:#04x}")
    }
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, option: &str, value: impl Into<String>) {
        self.0.push(option.to_owned());
        self.0.push(value.into());
    }

    fn disk(&mut self, index: usize, drive: &Drive, machine: &Machine) {
        let read_only = if drive.read_only { ",read-only=on" } else { "" };
        let path = escaped(&drive.path);
        // A device bypasses the page cache: data that waited there would still be written while
        // QEMU is paused for lack of space (docs/storage.md), and the files below are cached
        // already.
        let (driver, cache) = if drive.block {
            ("host_device", ",cache.direct=on")
        } else {
            ("file", "")
        };
        let flush = match machine.disk_cache {
            DiskCache::Writeback => "",
            DiskCache::Unsafe => ",cache.no-flush=on",
        };
        self.add(
            "-blockdev",
            format!(
                "driver=raw,node-name=drive{index},discard=unmap{read_only}{cache}{flush},\
                 file.driver={driver},file.filename={path},file.locking=on"
            ),
        );
        let place = at(&machine.shape, &format!("disk{index}"), slot::DISK + index);
        self.add(
            "-device",
            format!(
                "virtio-blk-pci,drive=drive{index},serial={},{ERRORS}{place}",
                escaped(&drive.name)
            ),
        );
    }

    fn interface(
        &mut self,
        index: usize,
        interface: &Interface,
        shape: &Shape,
        tap_descriptor: i32,
    ) {
        match &interface.backend {
            Backend::Tap { .. } => {
                self.add("-netdev", format!("tap,id=net{index},fd={tap_descriptor}"));
            }
            Backend::User { ssh_port } => self.user_networking(index, *ssh_port),
        }
        let place = at(shape, &format!("eth{index}"), slot::INTERFACE + index);
        // An empty ROM file spares the guest a network boot.
        self.add(
            "-device",
            format!(
                "virtio-net-pci,netdev=net{index},mac={},romfile={place}",
                interface.mac
            ),
        );
    }

    /// The ports to the guest, each a socket on the host.
    fn ports(&mut self, machine: &Machine) {
        let shape = &machine.shape;
        let place = at(shape, "serial", slot::SERIAL);
        self.add("-device", format!("virtio-serial-pci{place}"));
        let ports = [
            ("agent", machine.channel.as_str()),
            ("streams", STREAMS),
            ("share", SHARE),
        ];
        let count = if shape.is_original() { 1 } else { ports.len() };
        for (index, (name, socket)) in ports.into_iter().take(count).enumerate() {
            let socket = escaped(socket);
            self.add(
                "-chardev",
                format!("socket,id={name},path={socket},server=on,wait=off"),
            );
            // Port 0 is reserved for a console.
            let place = if shape.is_original() {
                String::new()
            } else {
                format!(",id=port-{name},nr={}", index + 1)
            };
            self.add(
                "-device",
                format!("virtserialport,chardev={name},name=banger.{name}{place}"),
            );
        }
    }

    /// Two networks that only the gate (crate::gate) connects: the guest's, a socket, and a hub
    /// with QEMU's user networking and another socket. QEMU listens on both again when a gate has
    /// ended.
    fn user_networking(&mut self, index: usize, ssh_port: u16) {
        let socket = |path| format!("server=on,addr.type=unix,addr.path={path}");
        let (guest, outside) = (socket(GUEST_SOCKET), socket(OUTSIDE_SOCKET));
        self.add("-netdev", format!("stream,id=net{index},{guest}"));
        self.add("-netdev", format!("stream,id=gate{index},{outside}"));
        self.add(
            "-netdev",
            format!("user,id=user{index},ipv6=off,hostfwd=tcp:127.0.0.1:{ssh_port}-:22"),
        );
        for end in ["gate", "user"] {
            self.add(
                "-netdev",
                format!("hubport,id={end}port{index},hubid={index},netdev={end}{index}"),
            );
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

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
            drives: vec![Drive {
                name: "root".to_owned(),
                path: "root.img".to_owned(),
                block: false,
                read_only: false,
            }],
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

    /// QEMU's arguments for two machines of this shape: a plain one, and one with everything else.
    fn rendered(shape: Shape) -> String {
        let plain = Machine { shape, ..machine() };
        let mut other = plain.clone();
        other.drives.push(Drive {
            name: "work".to_owned(),
            path: "/dev/banger/banger-1-00ff-aa12bb34".to_owned(),
            block: true,
            read_only: true,
        });
        other.interfaces[0].backend = Backend::User { ssh_port: 40_022 };
        let plain = arguments(&plain, false, 3).join("\n");
        let other = arguments(&other, true, 3).join("\n");
        format!("{plain}\n\n{other}")
    }

    /// Guests see a change here, and images of suspended guests no longer load, so a change needs a
    /// new shape ([`crate::vm::shape`]).
    #[test]
    fn the_machine_of_a_shape_never_changes() {
        insta::assert_snapshot!("shape_0", rendered(Shape::default()));
        insta::assert_snapshot!("shape_1", rendered(Shape::newest()));
    }

    #[test]
    fn a_block_device_is_no_file_and_has_no_cache_of_its_own() {
        let mut machine = machine();
        machine.drives[0].path = "/dev/banger/banger-1-00ff-aa12bb34".to_owned();
        machine.drives[0].block = true;
        let arguments = arguments(&machine, false, 3).join(" ");
        assert!(
            arguments.contains(
                "driver=raw,node-name=drive0,discard=unmap,cache.direct=on,file.driver=host_device,\
                 file.filename=/dev/banger/banger-1-00ff-aa12bb34,file.locking=on"
            ),
            "{arguments}"
        );
    }

    #[test]
    fn a_guest_on_user_networking_is_connected_with_it_by_nothing_but_two_sockets() {
        let mut machine = machine();
        machine.interfaces[0].backend = Backend::User { ssh_port: 40_022 };
        let arguments = arguments(&machine, true, 3);
        let networks: Vec<&str> = arguments
            .windows(2)
            .filter(|pair| pair[0] == "-netdev")
            .map(|pair| pair[1].as_str())
            .collect();
        insta::assert_snapshot!(networks.join("\n"), @"
        stream,id=net0,server=on,addr.type=unix,addr.path=guest.sock
        stream,id=gate0,server=on,addr.type=unix,addr.path=outside.sock
        user,id=user0,ipv6=off,hostfwd=tcp:127.0.0.1:40022-:22
        hubport,id=gateport0,hubid=0,netdev=gate0
        hubport,id=userport0,hubid=0,netdev=user0
        ");
        let device = arguments.iter().find(|it| it.contains("virtio-net-pci"));
        assert!(device.unwrap().contains("netdev=net0,"), "{device:?}");
        let arguments = arguments.join(" ");
        assert!(arguments.contains("-accel kvm") && arguments.contains("-cpu host"));
    }

    #[test]
    fn the_process_is_found_by_an_argument_of_its_own() {
        assert!(arguments(&machine(), true, 3).contains(&"banger-1-00ff-aa12bb34".to_owned()));
    }

    #[test]
    fn a_flush_is_dropped_only_where_that_was_asked_for() {
        let mut machine = machine();
        assert!(!arguments(&machine, true, 3).join(" ").contains("no-flush"));
        machine.disk_cache = DiskCache::Unsafe;
        let arguments = arguments(&machine, true, 3).join(" ");
        assert!(
            arguments.contains("node-name=drive0,discard=unmap,cache.no-flush=on,file.driver=file"),
            "{arguments}"
        );
    }

    #[test]
    fn the_format_of_a_disk_is_never_probed() {
        let arguments = arguments(&machine(), true, 3).join(" ");
        assert!(arguments.contains("driver=raw,") && !arguments.contains("-drive"));
    }
}
