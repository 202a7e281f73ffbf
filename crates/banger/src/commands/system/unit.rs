//! The user's unit of the daemon.
//!
//! `KillMode=process`: stopping the unit ends the daemon only. VMs have their own scopes; processes
//! that are still in the unit's cgroup, such as VMs of a version without scopes, keep running.
//!
//! Restrictions of the unit also apply to the VMs that the daemon starts. So the unit does not use
//! `MemoryDenyWriteExecute=`, because QEMU without KVM generates code, nor any option that changes
//! the view of the file system: a user's manager implements those by a user namespace, in which
//! `/dev/kvm` and sockets have other owners.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use banger_api::{Code, Error, Result};

/// The unit's text for this daemon program. Root's daemon creates jails, which need namespaces.
pub(super) fn text(bangerd: &Path, is_root: bool) -> String {
    let namespaces = if is_root {
        ""
    } else {
        "RestrictNamespaces=yes\n"
    };
    let program = quoted(&bangerd.display().to_string());
    format!(
        "\
# Written by `banger system install`; changes are lost with the next. Yours go into
# bangerd.service.d/*.conf: systemctl --user edit bangerd
[Unit]
Description=banger, persistent VMs for development
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=notify
ExecStart={program}
Restart=on-failure
RestartSec=1
# VMs outlive their daemon.
KillMode=process
OOMPolicy=continue
# There may be many VMs to take over.
TimeoutStartSec=300
TimeoutStopSec=60
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
{namespaces}RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native

[Install]
WantedBy=default.target
"
    )
}

/// Quotes a word for `ExecStart=` (systemd.service(5), systemd.syntax(7)).
fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for character in word.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '%' | '$' => quoted.extend([character, character]),
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

/// Writes the unit atomically.
///
/// # Errors
/// Its folder cannot be created or written.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let map_io_error = |cause: std::io::Error| {
        Error::new(Code::Host, format!("write `{}`", path.display())).cause(cause.to_string())
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(map_io_error)?;
    let temporary = folder.join(format!(".bangerd.service.{}", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // It may never have existed.
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(map_io_error)
}

/// Removes the unit, and returns whether it existed.
///
/// # Errors
/// It exists and cannot be removed.
pub(super) fn remove(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(
            Error::new(Code::Host, format!("remove `{}`", path.display())).cause(cause.to_string()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_path_is_read_back_as_it_is() {
        assert_eq!(
            quoted(r#"/home/a b/50%/$x/"q"\bangerd"#),
            r#""/home/a b/50%%/$$x/\"q\"\\bangerd""#
        );
    }

    #[test]
    fn the_unit_is_replaced_whole_and_removed_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("systemd/user/bangerd.service");
        write(&path, "one").unwrap();
        write(&path, &text(Path::new("/usr/local/bin/bangerd"), false)).unwrap();
        let read = std::fs::read_to_string(&path).unwrap();
        assert!(
            read.contains("ExecStart=\"/usr/local/bin/bangerd\"\n"),
            "{read}"
        );
        let names: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }
}
