//! The keys, their values, and the fields that they set.

use std::path::PathBuf;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::values::{image, is, mirrors, number, path, resolvers, size, subnet, text};
use super::{Config, HypervisorChoice, LONGEST_SHUTDOWN, NetworkChoice, RootDiskChoice};
use crate::machine::DiskCache;

/// A fault of the file.
#[derive(Debug)]
pub(super) struct Fault {
    /// Its position, in bytes.
    pub(super) offset: usize,
    /// The fault, and what is accepted.
    pub(super) what: String,
    /// The hint.
    pub(super) hints: Vec<String>,
}

/// A predicate that describes a rejected value, such as `is a string`.
type Assignment = Result<(), String>;

/// The form of a key's value as plain text: in a variable, or on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The string itself, without quotes.
    Text,
    /// As in the file: a number, true or false.
    Plain,
    /// Items between commas.
    List,
}

struct Key {
    name: &'static str,
    takes: &'static str,
    form: Form,
    set: fn(&mut Config, &DeValue<'_>) -> Assignment,
    /// The value as in the file; null if there is none.
    get: fn(&Config) -> Value,
}

impl Key {
    fn fault(&self, found: &str) -> String {
        format!("`{}` {found}; it takes {}", self.name, self.takes)
    }

    /// Parses the value from text.
    fn read<'t>(&self, text: &'t str) -> DeValue<'t> {
        let text = text.trim();
        let string = |text: &'t str| DeValue::String(text.into());
        match self.form {
            Form::Text => string(text),
            Form::Plain => DeValue::parse(text).map_or_else(|_| string(text), Spanned::into_inner),
            Form::List => {
                let items = text.split(',').map(str::trim).filter(|it| !it.is_empty());
                let mut list = DeArray::new();
                for item in items {
                    list.push(Spanned::new(0..0, string(item)));
                }
                DeValue::Array(list)
            }
        }
    }
}

fn path_value(path: &Option<PathBuf>) -> Value {
    path.as_ref()
        .map_or(Value::Null, |path| path.display().to_string().into())
}

const ABSOLUTE_PATH: &str = "an absolute path, such as \"/opt/banger/bundle\"";
const SECONDS: &str = "a whole number of seconds from 1 to 3600";
const DISK: &str = "a size from 64M to 64T, such as \"16G\", or a number of MiB";

/// All keys, in the order of the user guide.
const KEYS: &[Key] = &[
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
        name: "image",
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

/// Older names of keys. They still work, with a warning.
const RENAMED: [(&str, &str); 2] = [
    ("bundle", "runtime_dir"),
    ("firecracker", "firecracker_bin"),
];

/// Keys of other tools' configurations that have no meaning here, and why.
const REFUSED: [(&str, &str); 1] = [(
    "default_initrd",
    "each start of a VM makes its own initramfs, from the guest program of its daemon and the \
     modules of the VM's kernel",
)];

/// Applies the table's values to `config`, calls `set` with each key and its position, and returns
/// the faults.
pub(super) fn apply(
    config: &mut Config,
    table: &DeTable<'_>,
    mut set: impl FnMut(&'static str, usize),
) -> Vec<Fault> {
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
                    what: format!("`{old}` is the older name of `{new}`, and both are set"),
                    hints: vec![format!("remove `{old}`")],
                });
                continue;
            }
            let warning = format!("the key `{old}` of the configuration is called `{new}` now");
            config.renamed.push(warning);
        }
        match (key.set)(config, value.get_ref()) {
            Ok(()) => set(key.name, value.span().start),
            Err(found) => faults.push(Fault {
                offset: value.span().start,
                what: key.fault(&found),
                hints: Vec::new(),
            }),
        }
    }
    faults
}

/// Applies a value in text form to `config`.
///
/// # Errors
/// The fault, and what is accepted.
pub(super) fn apply_text(config: &mut Config, name: &str, text: &str) -> Result<(), String> {
    let key = find(name)?;
    (key.set)(config, &key.read(text)).map_err(|found| key.fault(&found))
}

/// Parses the value of a key from `text`, as in the file.
///
/// # Errors
/// As [`apply_text`], or if the key is unknown.
pub(super) fn read(name: &str, text: &str) -> Result<(&'static str, Value), String> {
    let key = find(name)?;
    let mut config = Config::default();
    (key.set)(&mut config, &key.read(text)).map_err(|found| key.fault(&found))?;
    Ok((key.name, (key.get)(&config)))
}

/// The key with this name or older name.
pub(super) fn known(name: &str) -> Result<&'static str, String> {
    find(name).map(|key| key.name)
}

fn find(name: &str) -> Result<&'static Key, String> {
    KEYS.iter()
        .find(|key| key.name == name)
        .ok_or_else(|| unknown(name, 0).what)
}

/// Every key with its value, in the order of the documentation.
pub(super) fn values(config: &Config) -> impl Iterator<Item = (&'static str, Value)> {
    KEYS.iter().map(|key| (key.name, (key.get)(config)))
}

/// The older name of a key, if it had one.
pub(super) fn older_name(name: &str) -> Option<&'static str> {
    let renamed = RENAMED.iter().find(|(_, new)| *new == name);
    renamed.map(|(old, _)| *old)
}

fn unknown(name: &str, offset: usize) -> Fault {
    if let Some((name, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Fault {
            offset,
            what: format!("`{name}` is not taken: {why}"),
            hints: vec![format!("remove `{name}`")],
        };
    }
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

/// The key that the user probably meant.
fn nearest(name: &str) -> Option<&'static str> {
    // A long name is not a typing error, and the comparison is quadratic.
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

/// The edit distance: the number of characters to insert, remove or replace.
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
