//! The keys, what each takes, and where it goes.

use toml::de::{DeTable, DeValue};

use super::values::{image, is, number, path, resolvers, size, subnet, text};
use super::{Config, HypervisorChoice, LONGEST_SHUTDOWN, NetworkChoice, RootDiskChoice};
use crate::machine::DiskCache;

/// Something that is wrong with the file.
#[derive(Debug)]
pub(super) struct Fault {
    /// Where it begins, in bytes.
    pub(super) offset: usize,
    /// What it is, and what would be right.
    pub(super) what: String,
    /// What to do.
    pub(super) hints: Vec<String>,
}

/// What a value is that it should not be, such as `is a string`.
type Assignment = Result<(), String>;

struct Key {
    name: &'static str,
    takes: &'static str,
    set: fn(&mut Config, &DeValue<'_>) -> Assignment,
}

const ABSOLUTE_PATH: &str = "an absolute path, such as \"/opt/banger/bundle\"";
const SECONDS: &str = "a whole number of seconds from 1 to 3600";
const DISK: &str = "a size from 64M to 64T, such as \"16G\", or a number of MiB";

/// All keys, in the order of the user guide.
const KEYS: &[Key] = &[
    Key {
        name: "runtime_dir",
        takes: ABSOLUTE_PATH,
        set: |c, v| {
            c.runtime_dir = Some(path(v)?);
            Ok(())
        },
    },
    Key {
        name: "hypervisor",
        takes: "\"auto\", \"firecracker\" or \"qemu\"",
        set: |c, v| {
            c.hypervisor = match text(v)? {
                "auto" => HypervisorChoice::Auto,
                "firecracker" => HypervisorChoice::Firecracker,
                "qemu" => HypervisorChoice::Qemu,
                _ => return Err(is(v)),
            };
            Ok(())
        },
    },
    Key {
        name: "root_disk",
        takes: "\"auto\", \"reflink\", \"dm-snapshot\" or \"copy\"",
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
    },
    Key {
        name: "disk_cache",
        takes: "\"writeback\" or \"unsafe\"",
        set: |c, v| {
            c.disk_cache = match text(v)? {
                "writeback" => DiskCache::Writeback,
                "unsafe" => DiskCache::Unsafe,
                _ => return Err(is(v)),
            };
            Ok(())
        },
    },
    Key {
        name: "network",
        takes: "\"auto\", \"tap\" or \"user\"",
        set: |c, v| {
            c.network = match text(v)? {
                "auto" => NetworkChoice::Auto,
                "tap" => NetworkChoice::Tap,
                "user" => NetworkChoice::User,
                _ => return Err(is(v)),
            };
            Ok(())
        },
    },
    Key {
        name: "subnet",
        takes: "an IPv4 network with a prefix of 8 to 29 bits, such as \"10.215.0.0/20\"",
        set: |c, v| {
            c.subnet = subnet(text(v)?)?;
            Ok(())
        },
    },
    Key {
        name: "nat",
        takes: "true or false",
        set: |c, v| {
            c.spec.nat = v.as_bool().ok_or_else(|| is(v))?;
            Ok(())
        },
    },
    Key {
        name: "dns",
        takes: "a list of up to 3 IPv4 addresses that guests can reach, such as [\"9.9.9.9\"]",
        set: |c, v| {
            c.dns = resolvers(v)?;
            Ok(())
        },
    },
    Key {
        name: "dns_port",
        takes: "a port from 1 to 65535, or 0 for no resolver",
        set: |c, v| {
            c.dns_port = number(v, 0, u16::MAX.into())? as u16;
            Ok(())
        },
    },
    Key {
        name: "ssh_key_path",
        takes: "the absolute path of a private key, such as \"/home/ada/.ssh/id_ed25519\"",
        set: |c, v| {
            c.ssh_key_path = Some(path(v)?);
            Ok(())
        },
    },
    Key {
        name: "image",
        takes: "an image's name: up to 64 lower-case letters, digits, hyphens, dots and underscores",
        set: |c, v| {
            c.image = image(v)?;
            Ok(())
        },
    },
    Key {
        name: "vcpu",
        takes: "a whole number from 1 to 64",
        set: |c, v| {
            c.spec.vcpu = number(v, 1, 64)? as u32;
            Ok(())
        },
    },
    Key {
        name: "memory",
        takes: "a size from 192M to 64T, such as \"2G\", or a number of MiB",
        set: |c, v| {
            c.spec.memory = size(v, banger_api::limits::LEAST_MEMORY.0)?;
            Ok(())
        },
    },
    Key {
        name: "disk_size",
        takes: DISK,
        set: |c, v| {
            c.spec.disk_size = size(v, 64)?;
            Ok(())
        },
    },
    Key {
        name: "system_disk_size",
        takes: DISK,
        set: |c, v| {
            c.spec.system_disk_size = size(v, 64)?;
            Ok(())
        },
    },
    Key {
        name: "start_timeout_seconds",
        takes: SECONDS,
        set: |c, v| {
            c.start_timeout_seconds = number(v, 1, 3600)?;
            Ok(())
        },
    },
    Key {
        name: "stop_timeout_seconds",
        takes: SECONDS,
        set: |c, v| {
            c.stop_timeout_seconds = number(v, 1, 3600)?;
            Ok(())
        },
    },
    Key {
        name: "shutdown_timeout_seconds",
        takes: "a whole number of seconds from 1 to 300",
        set: |c, v| {
            c.shutdown_timeout_seconds = number(v, 1, LONGEST_SHUTDOWN)?;
            Ok(())
        },
    },
    Key {
        name: "jailer",
        takes: "true or false",
        set: |c, v| {
            c.jailer = v.as_bool().ok_or_else(|| is(v))?;
            Ok(())
        },
    },
    Key {
        name: "qemu",
        takes: "the absolute path of QEMU's program, such as \"/usr/bin/qemu-system-x86_64\"",
        set: |c, v| {
            c.qemu = Some(path(v)?);
            Ok(())
        },
    },
    Key {
        name: "firecracker_bin",
        takes: "the absolute path of Firecracker's program, such as \"/opt/firecracker\"",
        set: |c, v| {
            c.firecracker_bin = Some(path(v)?);
            Ok(())
        },
    },
];

/// What keys were called before. They go on working, and are told.
const RENAMED: [(&str, &str); 2] = [
    ("bundle", "runtime_dir"),
    ("firecracker", "firecracker_bin"),
];

/// Puts the table's values into `config`, and says what is wrong with the others.
pub(super) fn apply(config: &mut Config, table: &DeTable<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, value) in table {
        let renamed = RENAMED.iter().find(|(old, _)| old == name.get_ref());
        let known = renamed.map_or(name.get_ref().as_ref(), |(_, new)| new);
        let Some(key) = KEYS.iter().find(|key| key.name == known) else {
            faults.push(unknown(name.get_ref(), name.span().start));
            continue;
        };
        if let Some((old, new)) = renamed {
            if table.contains_key(*new) {
                faults.push(Fault {
                    offset: name.span().start,
                    what: format!("`{old}` is the older name of `{new}`, which is there, too"),
                    hints: vec![format!("remove `{old}`")],
                });
                continue;
            }
            let told = format!("the key `{old}` of the configuration is called `{new}` now");
            config.renamed.push(told);
        }
        if let Err(found) = (key.set)(config, value.get_ref()) {
            faults.push(Fault {
                offset: value.span().start,
                what: format!("`{}` {found}; it takes {}", key.name, key.takes),
                hints: Vec::new(),
            });
        }
    }
    faults
}

fn unknown(name: &str, offset: usize) -> Fault {
    let shown: String = name.chars().take(60).collect();
    let mut what = format!("there is no key `{shown}`");
    if let Some(near) = nearest(name) {
        what += &format!("; did you mean `{near}`?");
    }
    let all: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    Fault {
        offset,
        what,
        hints: vec![format!("the keys are {}", all.join(", "))],
    }
}

/// The key that was probably meant.
fn nearest(name: &str) -> Option<&'static str> {
    // A long name is no slip of the fingers, and the comparison is quadratic.
    if name.len() > 40 {
        return None;
    }
    let plain = name.to_lowercase().replace('-', "_");
    KEYS.iter()
        .map(|key| (distance(&plain, key.name), key.name))
        .filter(|(far, key)| *far <= 1 + key.len() / 4)
        .min()
        .map(|(_, key)| key)
}

/// How many characters must be put in, left out or changed to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
