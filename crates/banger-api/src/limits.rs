//! The ranges of settings that apply on every host. Each daemon also checks what its host can
//! provide.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::Mib;

/// The number of virtual CPUs.
pub const VCPUS: RangeInclusive<u32> = 1..=64;

/// The minimum memory, in MiB: with less, `apt-get update` runs out of memory.
pub const LEAST_MEMORY: Mib = Mib(192);

/// The maximum memory on any host, in MiB; each host also limits a VM to its own memory.
pub const MOST_MEMORY: Mib = Mib(64 << 20);

/// The size of a disk, in MiB.
pub const DISKS: RangeInclusive<Mib> = Mib(64)..=Mib(64 << 20);

/// Checks a number of virtual CPUs.
///
/// # Errors
/// With the range, if it is outside of [`VCPUS`].
pub fn vcpu(count: u32) -> Result<u32, String> {
    if VCPUS.contains(&count) {
        return Ok(count);
    }
    let (least, most) = (VCPUS.start(), VCPUS.end());
    Err(format!(
        "the number of vCPUs must be {least} to {most}, not {count}"
    ))
}

/// Checks an amount of memory.
///
/// # Errors
/// With the limit, if it is below [`LEAST_MEMORY`] or above [`MOST_MEMORY`].
pub fn memory(size: Mib) -> Result<Mib, String> {
    if size > MOST_MEMORY {
        return Err(format!("memory must be at most {MOST_MEMORY}, not {size}"));
    }
    if size >= LEAST_MEMORY {
        return Ok(size);
    }
    Err(format!(
        "memory must be at least {LEAST_MEMORY}, not {size}{}",
        in_gib(size)
    ))
}

/// Checks the size of a disk.
///
/// # Errors
/// With the range, if it is outside of [`DISKS`].
pub fn disk(size: Mib) -> Result<Mib, String> {
    if DISKS.contains(&size) {
        return Ok(size);
    }
    let (least, most) = (DISKS.start(), DISKS.end());
    Err(format!(
        "a disk must be {least} to {most}, not {size}{}",
        in_gib(size)
    ))
}

/// The maximum number of labels of a VM.
pub const MOST_LABELS: usize = 64;

/// The maximum length of a label's key, in characters.
pub const LONGEST_LABEL_KEY: usize = 63;

/// The maximum length of a label's value, in characters.
pub const LONGEST_LABEL_VALUE: usize = 255;

/// Checks one label.
///
/// # Errors
/// If the key is not 1 to [`LONGEST_LABEL_KEY`] of `a-z`, `0-9`, `.`, `_`, `/` and `-`, or
/// the value is longer than [`LONGEST_LABEL_VALUE`] or has a control character.
pub fn label(key: &str, value: &str) -> Result<(), String> {
    let is_allowed =
        |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'-');
    if !(1..=LONGEST_LABEL_KEY).contains(&key.len()) || !key.bytes().all(is_allowed) {
        return Err(format!(
            "a label's key must be 1 to {LONGEST_LABEL_KEY} of a-z, 0-9, '.', '_', '/' and '-', not {:?}",
            key.chars().take(LONGEST_LABEL_KEY + 1).collect::<String>()
        ));
    }
    if value.chars().count() > LONGEST_LABEL_VALUE || value.chars().any(char::is_control) {
        return Err(format!(
            "the value of the label `{key}` must be at most {LONGEST_LABEL_VALUE} printable characters"
        ));
    }
    Ok(())
}

/// Checks all labels of a VM.
///
/// # Errors
/// For the first that [`label`] rejects, or if there are more than [`MOST_LABELS`].
pub fn labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    if labels.len() > MOST_LABELS {
        return Err(format!(
            "a VM must have at most {MOST_LABELS} labels, not {}",
            labels.len()
        ));
    }
    labels.iter().try_for_each(|(key, value)| label(key, value))
}

/// The maximum number of volumes of a VM.
pub const MOST_VOLUMES: usize = 8;

/// Directories that the guest's system mounts something at, or whose content it discards.
const NOT_FOR_VOLUMES: [&str; 6] = ["/proc", "/sys", "/dev", "/run", "/tmp", "/boot"];

/// Checks the directory that a volume is mounted at.
///
/// # Errors
/// A description, if the path is not a plain absolute path, or has another use in the guest.
pub fn mount(path: &str) -> Result<(), String> {
    let shown: String = path.chars().take(80).collect();
    let wrong = |why: &str| Err(format!("a volume cannot be mounted at {shown:?}: {why}"));
    if !path.starts_with('/') || path.chars().count() > 255 {
        return wrong("give an absolute path of at most 255 characters");
    }
    let mut parts = path.split('/').skip(1);
    if parts.any(|part| matches!(part, "" | "." | "..")) || path.chars().any(char::is_control) {
        return wrong("it has an empty part, `.`, `..` or a control character");
    }
    let is_within = |taken: &str| {
        let below = path.strip_prefix(taken);
        below.is_some_and(|it| it.is_empty() || it.starts_with('/'))
    };
    if path == "/root" || NOT_FOR_VOLUMES.into_iter().any(is_within) {
        return wrong("the guest needs it for something else");
    }
    Ok(())
}

/// Checks all volumes of a VM.
///
/// # Errors
/// For the first directory that [`mount`] rejects or that two have, or if there are more than
/// [`MOST_VOLUMES`].
pub fn volumes(volumes: &BTreeMap<crate::VolumeName, String>) -> Result<(), String> {
    let count = volumes.len();
    if count > MOST_VOLUMES {
        return Err(format!(
            "a VM must have at most {MOST_VOLUMES} volumes, not {count}"
        ));
    }
    let mut mounted = std::collections::BTreeSet::new();
    for path in volumes.values() {
        mount(path)?;
        if !mounted.insert(path) {
            return Err(format!("two volumes are to be mounted at `{path}`"));
        }
    }
    Ok(())
}

/// Suggests the size that a bare number may stand for.
fn in_gib(size: Mib) -> String {
    let gib = Mib(size.0.saturating_mul(1024));
    if size < *DISKS.start() && size.0 > 0 {
        format!("; did you mean {gib}?")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_plain_keys_and_printable_values() {
        for key in ["a", "ci/run", "x.y_z-1", &"k".repeat(63)] {
            assert_eq!(label(key, "as ünlike as it gets"), Ok(()), "{key}");
        }
        for key in ["", "A", "a b", "a=b", "ü", &"k".repeat(64)] {
            assert!(
                label(key, "").unwrap_err().contains("1 to 63 of a-z"),
                "{key}"
            );
        }
        for value in ["\u{1b}[2J", "a\nb", &"ü".repeat(256)] {
            assert!(label("a", value).is_err(), "{value:?}");
        }
        let many = |count| {
            (0..count)
                .map(|it| (format!("k{it}"), String::new()))
                .collect()
        };
        assert_eq!(labels(&many(64)), Ok(()));
        assert!(labels(&many(65)).unwrap_err().contains("at most 64"));
    }

    #[test]
    fn a_setting_out_of_range_is_rejected_with_the_range() {
        assert_eq!(
            vcpu(0).unwrap_err(),
            "the number of vCPUs must be 1 to 64, not 0"
        );
        assert_eq!(
            memory(Mib(4)).unwrap_err(),
            "memory must be at least 192M, not 4M; did you mean 4G?"
        );
        assert!(memory(Mib(u64::MAX)).unwrap_err().contains("at most 64T"));
        assert_eq!(
            disk(Mib(20)).unwrap_err(),
            "a disk must be 64M to 64T, not 20M; did you mean 20G?"
        );
        assert_eq!(
            disk(Mib(0)).unwrap_err(),
            "a disk must be 64M to 64T, not 0M"
        );
        assert_eq!(
            (vcpu(64), memory(Mib(192)), disk(Mib(64))),
            (Ok(64), Ok(Mib(192)), Ok(Mib(64)))
        );
    }
}
