//! The same root file system, booted with Debian's own kernel image and initrd on the same QEMU.
//!
//! The image has no host keys and no network daemon, because banger gives its guests both. The
//! baseline's copy gets host keys, and a unit that sets the address with `ip`, which is the minimum
//! for any guest.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use banger_api::{StopVm, VmView};

use crate::daemon::{Daemon, program};

/// The script that adapts the copy, inside a guest.
const ADAPT: &str = "set -e
rm -f /etc/ssh/sshd_config.d/10-banger.conf
ssh-keygen -A >/dev/null
cat > /etc/systemd/system/bench-network.service <<'END'
[Unit]
DefaultDependencies=no
Before=network-pre.target ssh.service
After=sys-subsystem-net-devices-eth0.device
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'modprobe virtio_net; until ip link set eth0 up; do :; done; ip addr add 10.0.2.15/24 dev eth0; ip link set lo up'
[Install]
WantedBy=multi-user.target
END
sed -i '/^After=/d' /etc/systemd/system/bench-network.service
systemctl enable -q bench-network.service
";

pub(crate) struct Baseline {
    disk: PathBuf,
    kernel: PathBuf,
    initrd: PathBuf,
    _folder: tempfile::TempDir,
}

impl Baseline {
    /// Takes the disk of a VM, adapts it in a guest, and restores the VM's own.
    pub(crate) fn prepare(daemon: &Daemon, vm: &VmView) -> Self {
        let boot = PathBuf::from(std::env::var_os("BANGER_BENCH_BOOT").unwrap());
        let folder = tempfile::Builder::new()
            .prefix("banger-bench-")
            .tempdir()
            .unwrap();
        let machine = daemon.state().join(format!("vms/{}/machine", vm.id));
        let stop = || {
            let stop = StopVm::default();
            daemon
                .client()
                .stop(&(&vm.name).into(), &stop, |_| {})
                .unwrap();
        };
        let copy = |from: PathBuf, to: PathBuf| {
            let copied = Command::new("cp")
                .arg("--sparse=always")
                .arg("-p")
                .args([from, to])
                .status();
            assert!(copied.unwrap().success());
        };
        stop();
        let kept = folder.path().join("kept.img");
        copy(machine.join("root.img"), kept.clone());
        let banger = |arguments: &[&str]| {
            let run = Command::new(program("banger"))
                .args(arguments)
                .env("BANGER_STATE", daemon.state())
                .stdout(Stdio::null())
                .status();
            assert!(run.unwrap().success(), "{arguments:?}");
        };
        let name = vm.name.as_str();
        banger(&["--quiet", "vm", "start", name]);
        banger(&["vm", "ssh", name, "--", "sh", "-c", ADAPT]);
        stop();
        let disk = folder.path().join("baseline.img");
        copy(machine.join("root.img"), disk.clone());
        copy(kept, machine.join("root.img"));
        banger(&["--quiet", "vm", "start", name]);
        Self {
            disk,
            kernel: boot.join("vmlinuz"),
            initrd: boot.join("initrd.img"),
            _folder: folder,
        }
    }

    /// The time from the start of QEMU to sshd's banner, in milliseconds.
    pub(crate) fn boot(&self) -> f64 {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let began = Instant::now();
        let mut qemu: Child = Command::new("/usr/bin/qemu-system-x86_64")
            .args([
                "-machine",
                "q35",
                "-accel",
                accelerator(),
                "-cpu",
                "max,la57=off",
                "-smp",
                "2",
                "-m",
                "1024M",
            ])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
            ])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initrd)
            .args([
                "-append",
                "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet panic=1",
            ])
            .args(["-serial", "null", "-device", "virtio-rng-pci", "-snapshot"])
            .arg("-drive")
            .arg(format!("if=virtio,format=raw,file={}", self.disk.display()))
            .arg("-netdev")
            .arg(format!("user,id=net0,hostfwd=tcp:127.0.0.1:{port}-:22"))
            .args(["-device", "virtio-net-pci,netdev=net0,romfile="])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        crate::guest::banner(([127, 0, 0, 1], port).into());
        let found = began.elapsed().as_secs_f64() * 1000.0;
        let _ = qemu.kill();
        let _ = qemu.wait();
        found
    }
}

/// The accelerator that banger would choose: KVM only if the CPU really virtualises.
fn accelerator() -> &'static str {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let flags = cpus
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm");
    if flags && std::fs::File::open("/dev/kvm").is_ok() {
        "kvm"
    } else {
        "tcg,thread=single"
    }
}
