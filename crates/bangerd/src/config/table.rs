//! All keys: what each takes, and the field that it sets.

use std::path::PathBuf;

use serde_json::Value;

use super::keys::{Form, Key};
use super::values::{image, is, mirrors, number, path, resolvers, size, subnet, text};
use super::{HypervisorChoice, LONGEST_SHUTDOWN, NetworkChoice, RootDiskChoice};
use crate::machine::DiskCache;

fn path_value(path: &Option<PathBuf>) -> Value {
    path.as_ref()
        .map_or(Value::Null, |path| path.display().to_string().into())
}

const ABSOLUTE_PATH: &str = "an absolute path, such as \"/opt/banger/bundle\"";
const SECONDS: &str = "a whole number of seconds from 1 to 3600";
const DISK: &str = "a size from 64M to 64T, such as \"16G\", or a number of MiB";

/// All keys, in the order of the user guide.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "log_level",
        takes: "\"debug\", \"info\", \"warn\" or \"error\"",
        form: Form::Text,
        set: |c, v| {
            c.log_level = text(v)?.parse().map_err(|_| is(v))?;
            Ok(())
        },
        get: |c| c.log_level.as_str().into(),
    },
    Key {
        name: "runtime_dir",
        takes: ABSOLUTE_PATH,
        form: Form::Text,
        set: |c, v| {
            c.runtime_dir = Some(path(v)?);
            Ok(())
        },
        get: |c| path_value(&c.runtime_dir),
    },
    Key {
        name: "hypervisor",
        takes: "\"auto\", \"firecracker\" or \"qemu\"",
        form: Form::Text,
        set: |c, v| {
            c.hypervisor = match text(v)? {
                "auto" => HypervisorChoice::Auto,
                "firecracker" => HypervisorChoice::Firecracker,
                "qemu" => HypervisorChoice::Qemu,
                _ => return Err(is(v)),
            };
            Ok(())
        },
        get: |c| c.hypervisor.as_str().into(),
    },
    Key {
        name: "root_disk",
        takes: "\"auto\", \"reflink\", \"dm-snapshot\" or \"copy\"",
        form: Form::Text,
        set: |c, v| {
            c.root_disk = match text(v)? {
                "auto" => RootDiskChoice::Auto,
                "reflink" => RootDiskChoice::Reflink,
                "dm-snapshot" => RootDiskChoice::DmSnapshot,
                "copy" => RootDiskChoice::Copy,
                _ => return Err(is(v)),
            };
            Ok(())
        },
        get: |c| c.root_disk.as_str().into(),
    },
    Key {
        name: "disk_cache",
        takes: "\"writeback\" or \"unsafe\"",
        form: Form::Text,
        set: |c, v| {
            c.disk_cache = match text(v)? {
                "writeback" => DiskCache::Writeback,
                "unsafe" => DiskCache::Unsafe,
                _ => return Err(is(v)),
            };
            Ok(())
        },
        get: |c| c.disk_cache.as_str().into(),
    },
    Key {
        name: "network",
        takes: "\"auto\", \"tap\" or \"user\"",
        form: Form::Text,
        set: |c, v| {
            c.network = match text(v)? {
                "auto" => NetworkChoice::Auto,
                "tap" => NetworkChoice::Tap,
                "user" => NetworkChoice::User,
                _ => return Err(is(v)),
            };
            Ok(())
        },
        get: |c| c.network.as_str().into(),
    },
    Key {
        name: "subnet",
        takes: "an IPv4 network with a prefix of 8 to 29 bits, such as \"10.215.0.0/20\"",
        form: Form::Text,
        set: |c, v| {
            c.subnet = subnet(text(v)?)?;
            Ok(())
        },
        get: |c| c.subnet.to_string().into(),
    },
    Key {
        name: "nat",
        takes: "true or false",
        form: Form::Plain,
        set: |c, v| {
            c.spec.nat = v.as_bool().ok_or_else(|| is(v))?;
            Ok(())
        },
        get: |c| c.spec.nat.into(),
    },
    Key {
        name: "dns",
        takes: "a list of up to 3 IPv4 addresses that guests can reach, such as [\"9.9.9.9\"]",
        form: Form::List,
        set: |c, v| {
            c.dns = resolvers(v)?;
            Ok(())
        },
        get: |c| c.dns.iter().map(ToString::to_string).collect(),
    },
    Key {
        name: "dns_port",
        takes: "a port from 1 to 65535, or 0 for no resolver",
        form: Form::Plain,
        set: |c, v| {
            c.dns_port = number(v, 0, u16::MAX.into())? as u16;
            Ok(())
        },
        get: |c| c.dns_port.into(),
    },
    Key {
        name: "ssh_key_path",
        takes: "the absolute path of a private key, such as \"/home/ada/.ssh/id_ed25519\"",
        form: Form::Text,
        set: |c, v| {
            c.ssh_key_path = Some(path(v)?);
            Ok(())
        },
        get: |c| path_value(&c.ssh_key_path),
    },
    Key {
        name: "namegen_path",
        takes: "the absolute path of a program that prints a name, or of a list of words",
        form: Form::Text,
        set: |c, v| {
            c.namegen_path = Some(path(v)?);
            Ok(())
        },
        get: |c| path_value(&c.namegen_path),
    },
    Key {
        name: "default_rootfs",
        takes: "an image's name: up to 64 lower-case letters, digits, hyphens, dots and underscores",
        form: Form::Text,
        set: |c, v| {
            c.image = image(v)?;
            Ok(())
        },
        get: |c| c.image.as_str().into(),
    },
    Key {
        name: "default_base_rootfs",
        takes: "the name of the image that others are built from",
        form: Form::Text,
        set: |c, v| {
            c.default_base_rootfs = Some(image(v)?);
            Ok(())
        },
        get: |c| c.default_base_rootfs.as_deref().into(),
    },
    Key {
        name: "default_kernel",
        takes: "the absolute path of a kernel, such as \"/opt/linux/vmlinux\"",
        form: Form::Text,
        set: |c, v| {
            c.default_kernel = Some(path(v)?);
            Ok(())
        },
        get: |c| path_value(&c.default_kernel),
    },
    Key {
        name: "default_modules_dir",
        takes: "the absolute path of that kernel's modules, such as \"/opt/linux/lib/modules/6.12.1\"",
        form: Form::Text,
        set: |c, v| {
            c.default_modules_dir = Some(path(v)?);
            Ok(())
        },
        get: |c| path_value(&c.default_modules_dir),
    },
    Key {
        name: "default_packages_file",
        takes: "the absolute path of a list of packages, such as \"/home/ada/packages.apt\"",
        form: Form::Text,
        set: |c, v| {
            c.default_packages_file = Some(path(v)?);
            Ok(())
        },
        get: |c| path_value(&c.default_packages_file),
    },
    Key {
        name: "customize_script",
        takes: "the absolute path of a program for the VM of an image build",
        form: Form::Text,
        set: |c, v| {
            c.customize_script = Some(path(v)?);
            Ok(())
        },
        get: |c| path_value(&c.customize_script),
    },
    Key {
        name: "mirrors",
        takes: "a table of addresses: debian, debian-security, npm, git and docker, such as { npm = \"https://npm.example/\" }",
        form: Form::List,
        set: |c, v| {
            c.mirrors = mirrors(v)?;
            Ok(())
        },
        get: |c| serde_json::to_value(&c.mirrors).unwrap_or_default(),
    },
    Key {
        name: "vcpu",
        takes: "a whole number from 1 to 64",
        form: Form::Plain,
        set: |c, v| {
            c.spec.vcpu = number(v, 1, 64)? as u32;
            Ok(())
        },
        get: |c| c.spec.vcpu.into(),
    },
    Key {
        name: "memory",
        takes: "a size from 192M to 64T, such as \"2G\", or a number of MiB",
        form: Form::Text,
        set: |c, v| {
            c.spec.memory = size(v, banger_api::limits::LEAST_MEMORY.0)?;
            Ok(())
        },
        get: |c| c.spec.memory.to_string().into(),
    },
    Key {
        name: "disk_size",
        takes: DISK,
        form: Form::Text,
        set: |c, v| {
            c.spec.disk_size = size(v, 64)?;
            Ok(())
        },
        get: |c| c.spec.disk_size.to_string().into(),
    },
    Key {
        name: "system_disk_size",
        takes: DISK,
        form: Form::Text,
        set: |c, v| {
            c.spec.system_disk_size = size(v, 64)?;
            Ok(())
        },
        get: |c| c.spec.system_disk_size.to_string().into(),
    },
    Key {
        name: "start_timeout_seconds",
        takes: SECONDS,
        form: Form::Plain,
        set: |c, v| {
            c.start_timeout_seconds = number(v, 1, 3600)?;
            Ok(())
        },
        get: |c| c.start_timeout_seconds.into(),
    },
    Key {
        name: "stop_timeout_seconds",
        takes: SECONDS,
        form: Form::Plain,
        set: |c, v| {
            c.stop_timeout_seconds = number(v, 1, 3600)?;
            Ok(())
        },
        get: |c| c.stop_timeout_seconds.into(),
    },
    Key {
        name: "shutdown_timeout_seconds",
        takes: "a whole number of seconds from 1 to 300",
        form: Form::Plain,
        set: |c, v| {
            c.shutdown_timeout_seconds = number(v, 1, LONGEST_SHUTDOWN)?;
            Ok(())
        },
        get: |c| c.shutdown_timeout_seconds.into(),
    },
    Key {
        name: "trash",
        takes: "true or false",
        form: Form::Plain,
        set: |c, v| {
            c.trash = v.as_bool().ok_or_else(|| is(v))?;
            Ok(())
        },
        get: |c| c.trash.into(),
    },
    Key {
        name: "jailer",
        takes: "true or false",
        form: Form::Plain,
        set: |c, v| {
            c.jailer = v.as_bool().ok_or_else(|| is(v))?;
            Ok(())
        },
        get: |c| c.jailer.into(),
    },
    Key {
        name: "qemu",
        takes: "the absolute path of QEMU's program, such as \"/usr/bin/qemu-system-x86_64\"",
        form: Form::Text,
        set: |c, v| {
            c.qemu = Some(path(v)?);
            Ok(())
        },
        get: |c| path_value(&c.qemu),
    },
    Key {
        name: "firecracker_bin",
        takes: "the absolute path of Firecracker's program, such as \"/opt/firecracker\"",
        form: Form::Text,
        set: |c, v| {
            c.firecracker_bin = Some(path(v)?);
            Ok(())
        },
        get: |c| path_value(&c.firecracker_bin),
    },
];
