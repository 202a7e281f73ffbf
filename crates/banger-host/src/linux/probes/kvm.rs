//! Whether KVM works: the device opens, it makes a machine, and the CPU can run one.

use std::fs::File;
use std::io::ErrorKind;

use super::{bad, good};
use crate::Finding;
use crate::linux::sys;

/// The CPU's virtualization extension, and its flag in `/proc/cpuinfo`.
fn extension() -> Option<(&'static str, &'static str)> {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags"))?;
    let has = |flag: &str| flags.split_ascii_whitespace().any(|it| it == flag);
    if has("vmx") {
        Some(("vmx", "kvm_intel"))
    } else if has("svm") {
        Some(("svm", "kvm_amd"))
    } else {
        None
    }
}

pub(super) fn probe() -> Finding {
    let opened = File::options().read(true).write(true).open("/dev/kvm");
    let Some((flag, module)) = extension() else {
        let device = if opened.is_ok() {
            "opens, but"
        } else {
            "does not open, and"
        };
        return bad(
            format!("`/dev/kvm` {device} the CPU shows neither vmx nor svm"),
            "switch virtualisation (VT-x or AMD-V) on in the firmware, or nested virtualisation \
             on the machine that this one runs on: grep -cE 'vmx|svm' /proc/cpuinfo",
        );
    };
    let kvm = match opened {
        Ok(kvm) => kvm,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return bad(
                "`/dev/kvm` does not open for this user",
                "sudo usermod -aG kvm $USER; then log in again",
            );
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return bad("there is no `/dev/kvm`", format!("sudo modprobe {module}"));
        }
        Err(error) => {
            return bad(
                format!("`/dev/kvm` does not open: {error}"),
                "sudo dmesg | grep -i kvm",
            );
        }
    };
    match sys::create_kvm_vm(&kvm) {
        Ok(_machine) => good(format!(
            "`/dev/kvm` creates machines, and the CPU has {flag}"
        )),
        Err(error) => bad(
            format!("`/dev/kvm` opens, but creates no machine: {error}"),
            "another hypervisor may be using the CPU: sudo dmesg | grep -i kvm",
        ),
    }
}
