//! Checks that a guest can boot from a root file system, before a VM is created from it.
//!
//! A guest needs sshd, and systemd for this CPU; the rest is in banger's initramfs. The checks
//! cover what container images and images for other machines lack.

use banger_api::{Code, Error};

use crate::error::Result;

/// The length of the part of a program that is read: its ELF header (elf(5)).
pub(super) const HEAD: usize = 64;

/// Read access to a root file system. Paths have no leading slash; links are followed within it.
pub(super) trait Tree {
    /// The first [`HEAD`] bytes of a file, or fewer if it is shorter; `None` if there is no such
    /// file.
    ///
    /// # Errors
    /// If the file system is damaged.
    fn head(&self, path: &str) -> Result<Option<Vec<u8>>>;
}

/// The paths of systemd.
const SYSTEMD: [&str; 2] = ["usr/lib/systemd/systemd", "lib/systemd/systemd"];

/// The paths of other inits.
const INIT: [&str; 4] = ["sbin/init", "usr/sbin/init", "bin/init", "etc/init.d/rc"];

/// The paths of sshd.
const SSHD: [&str; 2] = ["usr/sbin/sshd", "usr/bin/sshd"];

/// The hint for Debian's container images.
const LACKING: &str = "add them to its build, and import it again: RUN apt-get update && apt-get install --yes systemd-sysv udev dbus iproute2 openssh-server";

/// The package managers of other distributions.
const OTHERS: [(&str, &str); 5] = [
    ("sbin/apk", "apk"),
    ("usr/bin/dnf", "dnf"),
    ("usr/bin/microdnf", "dnf"),
    ("usr/bin/zypper", "zypper"),
    ("usr/bin/pacman", "pacman"),
];

/// What a root file system is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A VM boots from it.
    Boots,
    /// It lacks systemd or sshd, which its own apt can install.
    LacksInit,
}

/// Judges the root file system of an archive.
///
/// # Errors
/// If it cannot boot, and what it lacks cannot be added, with the reason.
pub(super) fn judge_archive(tree: &dyn Tree) -> Result<Verdict> {
    let Err(error) = judge(tree) else {
        return Ok(Verdict::Boots);
    };
    let has = |path: &str| tree.head(path).map(|it| it.is_some());
    let shell = match tree.head("bin/sh")? {
        Some(shell) => Some(shell),
        None => tree.head("usr/bin/sh")?,
    };
    let is_ours = shell.is_some_and(|it| check_processor(&it).is_ok());
    let has_systemd = has(SYSTEMD[0])? || has(SYSTEMD[1])?;
    let mut has_init = false;
    for path in INIT {
        has_init |= has(path)?;
    }
    // Another init would have to leave first, and with it what was set up for it.
    if !is_ours || has_init && !has_systemd {
        return Err(error);
    }
    if has("usr/bin/apt-get")? && has("usr/bin/dpkg")? {
        return Ok(Verdict::LacksInit);
    }
    for (path, manager) in OTHERS {
        if has(path)? {
            return Err(refusal("it has no init or no sshd")
                .cause(format!(
                    "banger adds them with apt, and its packages are those of {manager}"
                ))
                .hint("build it with systemd and sshd, and import it again")
                .hint("or begin with an image of Debian or Ubuntu"));
        }
    }
    Err(error.cause("banger adds what lacks with apt, which it does not have, either"))
}

/// Rejects a root file system that cannot boot, with the reason.
pub(super) fn judge(tree: &dyn Tree) -> Result<()> {
    let first = |paths: &[&str]| -> Result<Option<Vec<u8>>> {
        for path in paths {
            if let Some(head) = tree.head(path)? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    };
    let Some(systemd) = first(&SYSTEMD)? else {
        let shell = first(&["bin/sh", "usr/bin/sh"])?;
        let init = first(&INIT)?;
        return Err(without_systemd(init.is_some(), shell.as_deref()));
    };
    check_processor(&systemd)?;
    if first(&SSHD)?.is_none() {
        return Err(refusal("it has no sshd, so logins would not be possible").hint(LACKING));
    }
    Ok(())
}

fn refusal(why: &str) -> Error {
    Error::new(Code::Invalid, "it cannot boot as a VM").cause(why)
}

fn without_systemd(has_init: bool, shell: Option<&[u8]>) -> Error {
    if let Some(Err(other)) = shell.map(check_processor) {
        return other;
    }
    match (has_init, shell) {
        (true, _) => refusal("its init is not systemd, which banger needs")
            .hint("use an image of a distribution with systemd, such as Debian, Ubuntu or Fedora"),
        (false, Some(_)) => refusal("it has no init: it is a container image").hint(LACKING),
        (false, None) => refusal("it has neither an init nor a shell: it is for one program alone")
            .hint("copy that program into a VM instead: banger vm create"),
    }
}

/// Rejects a program for another CPU. A file that is not an ELF program, such as a script, passes.
fn check_processor(head: &[u8]) -> Result<()> {
    let (Some(b"\x7fELF"), Some(class), Some(&[low, high])) =
        (head.get(..4), head.get(4), head.get(18..20))
    else {
        return Ok(());
    };
    // e_machine; the numbers are those of elf.h.
    let processor = match (*class, u16::from_le_bytes([low, high])) {
        (2, 62) => return Ok(()),
        (_, 3) => "32-bit x86",
        (_, 40) => "32-bit Arm",
        (_, 183) => "arm64",
        (_, 243) => "RISC-V",
        (_, 21 | 0x1500) => "POWER",
        (_, 22 | 0x1600) => "s390x",
        _ => "another CPU",
    };
    Err(refusal(&format!(
        "it is for {processor}, and this machine is x86-64"
    ))
    .hint("use the image for linux/amd64"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The head of a program for this e_machine.
    pub(in crate::image) fn program(machine: u16) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[..5].copy_from_slice(b"\x7fELF\x02");
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head
    }

    struct Files(BTreeMap<&'static str, Vec<u8>>);

    impl Tree for Files {
        fn head(&self, path: &str) -> Result<Option<Vec<u8>>> {
            Ok(self.0.get(path).cloned())
        }
    }

    fn verdict(files: &[(&'static str, Vec<u8>)]) -> String {
        let files = Files(files.iter().cloned().collect());
        judge(&files).map_or_else(|error| error.causes.join(": "), |()| "boots".to_owned())
    }

    #[test]
    fn an_init_is_added_where_there_is_apt_and_refused_with_the_reason_elsewhere() {
        let here = || program(62);
        let shell = || ("bin/sh", here());
        let apt = || [("usr/bin/apt-get", here()), ("usr/bin/dpkg", here())];
        let verdict = |files: Vec<(&'static str, Vec<u8>)>| {
            let verdict = judge_archive(&Files(files.into_iter().collect()));
            verdict.map_err(|error| error.causes.join(": "))
        };
        let with = |more: Vec<(&'static str, Vec<u8>)>| verdict([more, vec![shell()]].concat());
        assert_eq!(with(apt().to_vec()), Ok(Verdict::LacksInit));
        let systemd = ("usr/lib/systemd/systemd", here());
        let init = ("sbin/init", here());
        let debian = [&apt()[..], &[systemd, init.clone()]].concat();
        assert_eq!(with(debian.clone()), Ok(Verdict::LacksInit));
        let sshd = ("usr/sbin/sshd", here());
        assert_eq!(with([debian, vec![sshd]].concat()), Ok(Verdict::Boots));
        for (files, why) in [
            ([&apt()[..], &[init]].concat(), "is not systemd"),
            (vec![("sbin/apk", here())], "those of apk"),
            (vec![("usr/bin/dnf", here())], "those of dnf"),
            (vec![], "adds what lacks with apt"),
        ] {
            let said = with(files).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let arm = [&apt()[..], &[("bin/sh", program(183))]].concat();
        let said = verdict(arm).unwrap_err();
        assert!(said.contains("arm64"), "{said}");
    }

    #[test]
    fn what_cannot_boot_is_refused_with_the_reason() {
        let here = || program(62);
        let systemd = ("usr/lib/systemd/systemd", here());
        assert_eq!(
            verdict(&[systemd.clone(), ("usr/sbin/sshd", here())]),
            "boots"
        );
        for (files, why) in [
            (vec![systemd], "no sshd"),
            (
                vec![("lib/systemd/systemd", program(183))],
                "it is for arm64",
            ),
            (vec![("bin/sh", here())], "it has no init"),
            (vec![("bin/sh", program(183))], "it is for arm64"),
            (
                vec![("bin/sh", here()), ("sbin/init", here())],
                "is not systemd",
            ),
            (vec![("app", here())], "neither an init nor a shell"),
        ] {
            let said = verdict(&files);
            assert!(said.contains(why), "{said}");
        }
    }
}
