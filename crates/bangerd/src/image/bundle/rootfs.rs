//! The root file system, from Debian's packages: mmdebstrap makes a tree, mke2fs an image of it.
//!
//! Nothing is mounted and no loop device is used, for root and users alike. A user's tree is made
//! in a user namespace with subordinate ids, which gives root, `_apt` and the other accounts their
//! own ids, and mke2fs reads it there. That namespace has no access to the user's folders, so
//! files in them are passed as descriptors.

use std::path::Path;

use banger_host::command::Command;

use super::error::{failure, failure_caused_by};
use super::inheritable_file::InheritableFile;
use super::{Proxies, Result};

/// The program that unpacks packages into a tree.
pub(super) const MMDEBSTRAP: &str = "mmdebstrap";

/// The packages of every guest. banger needs systemd, udev and sshd; Docker needs iptables and
/// nftables; Ansible needs python3; the others are for the user.
const PACKAGES: &[&str] = &[
    "bash-completion",
    "ca-certificates",
    "curl",
    "dbus",
    "dbus-user-session",
    "e2fsprogs",
    "file",
    "git",
    "htop",
    "iproute2",
    "iptables",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",
    "ncurses-term",
    "netbase",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "rsync",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tmux",
    "tzdata",
    "udev",
    "vim",
    "xz-utils",
];

/// Excluded files: translations, which a C.UTF-8 guest never uses, and documentation. Manual
/// pages and copyrights stay.
const LEFT_OUT: &[&str] = &[
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
];

/// The size of an inode, and the bytes of a file system for each, as mke2fs makes them.
const INODE: u64 = 256;
const BYTES_OF_INODE: u64 = 16_384;

/// The script that runs in the tree after the packages are installed.
const CUSTOMIZE: &str = include_str!("customize.sh");

/// The contents of a root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe<'a> {
    pub(super) suite: &'a str,
    pub(super) mirror: Option<&'a str>,
    pub(super) include: &'a [String],
    pub(super) proxies: &'a Proxies,
    /// Whether this process is an ordinary user's.
    pub(super) unshare: bool,
}

impl Recipe<'_> {
    /// Rejects values that programs would read as an option or a second line.
    pub(super) fn check(&self) -> Result<()> {
        let word = |text: &str, more: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !word(self.suite, "-.") {
            return Err(failure(format!("{:?} is not a suite", self.suite))
                .hint("use a Debian suite such as trixie or bookworm"));
        }
        if let Some(mirror) = self.mirror {
            let known = ["http://", "https://"]
                .iter()
                .any(|it| mirror.starts_with(it));
            if !known
                || mirror
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_control() || c == ']')
            {
                return Err(failure(format!("{mirror:?} is not a mirror"))
                    .hint("a mirror is an address that begins with http:// or https://"));
            }
        }
        if let Some(package) = self.include.iter().find(|it| !word(it, "+-.:")) {
            return Err(failure(format!("{package:?} is not the name of a package")));
        }
        Ok(())
    }

    /// Makes the tree at `tree`, a new folder, and reports mmdebstrap's remarks. mmdebstrap's
    /// temporary files are in `temporary`. The compressed kernel is written to `vmlinuz`.
    pub(super) fn make_tree(
        &self,
        sources: &[String],
        tree: &Path,
        temporary: &Path,
        vmlinuz: &Path,
        remark: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let script_path = vmlinuz.with_file_name("customize.sh");
        let script = InheritableFile::create(&script_path, CUSTOMIZE.as_bytes())?;
        let kernel = InheritableFile::create(vmlinuz, b"")?;
        let command = self
            .proxies
            .with(self.tree_maker())
            .env("BANGER_VMLINUZ", kernel.name())
            .env("BANGER_SUITE", self.suite)
            .env("TMPDIR", temporary)
            .arg(format!("--customize-hook=. {}", script.name()))
            .arg(self.suite)
            .arg(tree)
            .args(sources);
        let mut complaints = Vec::new();
        let outcome = command.stream_lines(|line| {
            if let Some(complaint) = line.strip_prefix("E: ") {
                complaints.push(complaint.to_owned());
            }
            let text = line.strip_prefix("I: ");
            if let Some(text) = text.filter(|it| !it.starts_with("running --")) {
                remark(text);
            }
        });
        outcome.map_err(|cause| {
            let error = failure_caused_by(explain(&complaints), cause);
            error.hint("check the mirror, and the free space: df -h /var/tmp")
        })?;
        std::fs::remove_file(&script_path).map_err(|cause| {
            failure_caused_by(format!("remove `{}`", script_path.display()), cause)
        })
    }

    /// mmdebstrap with the options that every suite has.
    fn tree_maker(&self) -> Command {
        let mut packages: Vec<&str> = PACKAGES.to_vec();
        packages.extend(self.include.iter().map(String::as_str));
        // If this process is killed, mmdebstrap gets SIGTERM and cleans up.
        let setpriv = Command::new("setpriv").args(["--pdeathsig", "TERM"]);
        // A mount namespace confines the mounts that packages need during installation. A user's
        // namespace has one already, and root in a container may be unable to mount at all.
        let own_mounts = ["unshare", "--mount"];
        let may_mount = Command::new("unshare")
            .args(["--mount", "true"])
            .run()
            .is_ok();
        let command = match (self.unshare, may_mount) {
            (false, true) => setpriv.args(own_mounts).args([MMDEBSTRAP, "--mode=root"]),
            (false, false) => setpriv.args([MMDEBSTRAP, "--mode=root"]),
            (true, _) => setpriv.args([MMDEBSTRAP, "--mode=unshare"]),
        };
        command
            .args([
                "--variant=minbase",
                "--format=directory",
                "--architectures=amd64",
            ])
            .arg("--skip=output/dev")
            .args(LEFT_OUT.iter().map(|it| format!("--dpkgopt={it}")))
            .arg(format!("--include={}", packages.join(",")))
    }
}

/// Makes an ext4 image of a tree: sparse, with some free space, ready to grow.
pub(in crate::image) fn make_image(unshare: bool, tree: &Path, image: &Path) -> Result<()> {
    let used_kib = measure(unshare, tree, "--block-size=1K")?;
    let files = measure(unshare, tree, "--inodes")?;
    let file = InheritableFile::create(image, b"")?;
    let size = image_size(used_kib, files);
    file.set_size(size)?;
    with_guest_ids(unshare, "mke2fs")
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-L",
            "banger-root",
            "-m",
            "1",
            "-N",
            &inodes(size, files).to_string(),
            "-E",
        ])
        // The file is new: holes read as zeros.
        .arg("lazy_itable_init=1,lazy_journal_init=1,assume_storage_prezeroed=1")
        .arg("-d")
        .arg(tree)
        .arg(file.name())
        .run()
        .map_err(|cause| {
            let folder = image.parent().unwrap_or(image);
            failure_caused_by("make an ext4 image of the tree", cause).hint(format!(
                "check the free space: df -h {}",
                folder.parent().unwrap_or(folder).display()
            ))
        })?;
    file.finish()
}

/// A command that sees the tree's owners as the guest will.
pub(in crate::image) fn with_guest_ids(unshare: bool, program: &str) -> Command {
    if unshare {
        Command::new(MMDEBSTRAP).args(["--unshare-helper", program])
    } else {
        Command::new(program)
    }
}

/// What `du` says of a tree.
fn measure(unshare: bool, tree: &Path, what: &str) -> Result<u64> {
    let said = with_guest_ids(unshare, "du")
        .args(["--summarize", what, "--"])
        .arg(tree)
        .run()
        .map_err(|cause| failure_caused_by("measure the root file system", cause))?
        .text();
    said.split_whitespace()
        .next()
        .and_then(|it| it.parse().ok())
        .ok_or(failure(format!("unexpected output of `du`: {said:?}")))
}

/// The size of an image for this content, in bytes: a quarter and 384 MiB more, in steps of
/// 256 MiB, and at least 1 GiB.
fn image_size(used_kib: u64, files: u64) -> u64 {
    const STEP: u64 = 256 << 20;
    let size = (used_kib * 1024 + files * INODE) / 4 * 5 + (384 << 20);
    size.div_ceil(STEP).max(4) * STEP
}

/// The inodes of an image: as mke2fs makes them, but a quarter more than files in any case.
fn inodes(size: u64, files: u64) -> u64 {
    (size / BYTES_OF_INODE).max(files / 4 * 5 + 1024)
}

/// mmdebstrap's first complaint, which is the cause of the others.
fn explain(complaints: &[String]) -> String {
    match complaints.first() {
        Some(first) => format!("mmdebstrap: {first}"),
        None => "mmdebstrap ended early".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_rejected(suite: &str, mirror: Option<&str>, include: &[&str]) -> bool {
        let include: Vec<String> = include.iter().map(|it| (*it).to_owned()).collect();
        Recipe {
            suite,
            mirror,
            include: &include,
            proxies: &Proxies::default(),
            unshare: false,
        }
        .check()
        .is_err()
    }

    #[test]
    fn what_would_be_taken_for_an_option_or_a_second_line_is_is_rejected() {
        let mirror = Some("http://mirror.example/debian");
        assert!(!is_rejected("trixie", mirror, &["htop", "g++", "x:amd64"]));
        assert!(is_rejected("--help", None, &[]));
        assert!(is_rejected("trixie main", None, &[]));
        assert!(is_rejected("", None, &[]));
        assert!(is_rejected("trixie", Some("-"), &[]));
        assert!(is_rejected("trixie", Some("http://a/ b"), &[]));
        assert!(is_rejected("trixie", Some("http://a\ndeb"), &[]));
        assert!(is_rejected("trixie", None, &["--hook"]));
        assert!(is_rejected("trixie", None, &["a b"]));
        assert!(is_rejected("trixie", None, &["./here.deb"]));
        assert!(is_rejected("trixie", None, &[""]));
    }

    #[test]
    fn an_image_has_free_space_and_a_minimum_size() {
        assert_eq!(image_size(0, 0), 1 << 30);
        assert_eq!(image_size(400 << 10, 10_000), 1 << 30);
        assert_eq!(image_size(1 << 20, 0), 1792 << 20);
        for used in [1u64, 500 << 10, 3 << 20, 40 << 20] {
            let size = image_size(used, 50_000);
            assert!(size > used * 1024 * 5 / 4 && size.is_multiple_of(256 << 20));
        }
    }

    #[test]
    fn an_image_of_many_small_files_has_inodes_for_them() {
        assert_eq!(inodes(1 << 30, 10_000), 65_536);
        let files = 1_000_000;
        let size = image_size(4 * files, files);
        assert!(size / BYTES_OF_INODE < files);
        assert!(inodes(size, files) > files * 5 / 4);
        assert!(size > files * (4096 + INODE) * 5 / 4);
    }

    #[test]
    fn the_first_complaint_is_the_cause() {
        let complaints = [
            "apt-get update failed".to_owned(),
            "run_setup failed".to_owned(),
        ];
        assert_eq!(explain(&complaints), "mmdebstrap: apt-get update failed");
        assert_eq!(explain(&[]), "mmdebstrap ended early");
    }

    #[test]
    fn the_customize_script_is_valid_shell() {
        Command::new("sh")
            .args(["-n", "-c", CUSTOMIZE])
            .run()
            .unwrap();
    }
}
