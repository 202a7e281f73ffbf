//! The root file system, from Debian's packages: mmdebstrap makes a tree, mke2fs an image of it.
//!
//! No image is mounted and there is no loop device, as root or as a user. A user's tree is made
//! in a user namespace of subordinate ids, where root, `_apt` and the others are who they shall
//! be, and mke2fs reads it there. In that namespace nobody may look into the user's own folders,
//! so files there are handed over as descriptors.

use std::path::Path;

use banger_host::command::Command;

use super::inheritable_file::InheritableFile;
use super::{BundleError, Proxies, Result};

/// The program that makes a tree of packages.
pub(super) const MMDEBSTRAP: &str = "mmdebstrap";

/// What every guest has. systemd, udev and sshd are what banger needs, iptables and nftables what
/// Docker needs, python3 what Ansible needs; the others are for the person.
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

/// What is left out of the packages: translations, which a C.UTF-8 guest never shows, and
/// documents. Manual pages and copyrights stay.
const LEFT_OUT: &[&str] = &[
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/lintian/*",
];

/// What is done to the tree once its packages are there.
const CUSTOMIZE: &str = include_str!("customize.sh");

/// What a root file system is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipe<'a> {
    pub(super) suite: &'a str,
    pub(super) mirror: Option<&'a str>,
    pub(super) include: &'a [String],
    pub(super) proxies: &'a Proxies,
    /// Whether we are an ordinary user.
    pub(super) unshare: bool,
}

impl Recipe<'_> {
    /// Refuses what would be taken for something else.
    pub(super) fn check(&self) -> Result<()> {
        let word = |text: &str, more: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !word(self.suite, "-.") {
            return Err(BundleError::new(format!("{:?} is not a suite", self.suite))
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
                return Err(BundleError::new(format!("{mirror:?} is not a mirror"))
                    .hint("a mirror is an address that begins with http:// or https://"));
            }
        }
        if let Some(package) = self.include.iter().find(|it| !word(it, "+-.:")) {
            return Err(BundleError::new(format!(
                "{package:?} is not the name of a package"
            )));
        }
        Ok(())
    }

    /// Makes the tree at `tree`, which is not there yet, and hands each of mmdebstrap's own
    /// remarks on. What it leaves behind when it is killed is in the folder `temporary`. The
    /// packed kernel is written to `vmlinuz`.
    pub(super) fn make_tree(
        &self,
        sources: &[String],
        tree: &Path,
        temporary: &Path,
        vmlinuz: &Path,
        each: &mut dyn FnMut(&str),
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
            let remark = line.strip_prefix("I: ");
            if let Some(remark) = remark.filter(|it| !it.starts_with("running --")) {
                each(remark);
            }
        });
        outcome.map_err(|cause| {
            let error = BundleError::because(explain(&complaints), cause);
            error.hint("is the mirror reachable, and is there room? df -h /var/tmp")
        })?;
        std::fs::remove_file(&script_path).map_err(|cause| {
            BundleError::because(format!("remove `{}`", script_path.display()), cause)
        })
    }

    /// mmdebstrap with all options that are the same for each suite and place.
    fn tree_maker(&self) -> Command {
        let mut packages: Vec<&str> = PACKAGES.to_vec();
        packages.extend(self.include.iter().map(String::as_str));
        // When we are killed it is told, and takes down what it has begun.
        let told = Command::new("setpriv").args(["--pdeathsig", "TERM"]);
        // What packages need to be mounted while they are installed is then mounted for them only,
        // and gone with them. A user's namespace has its own mounts already; a root that may not
        // mount anything needs none.
        let own_mounts = ["unshare", "--mount"];
        let may_mount = Command::new("unshare")
            .args(["--mount", "true"])
            .run()
            .is_ok();
        let command = match (self.unshare, may_mount) {
            (false, true) => told.args(own_mounts).args([MMDEBSTRAP, "--mode=root"]),
            (false, false) => told.args([MMDEBSTRAP, "--mode=root"]),
            (true, _) => told.args([MMDEBSTRAP, "--mode=unshare"]),
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

    /// Makes the image of a tree: as large as its content and some room, sparse, ready to grow.
    pub(super) fn make_image(&self, tree: &Path, image: &Path) -> Result<()> {
        let map_io_error = |cause| BundleError::because("measure the root file system", cause);
        let used = self
            .seeing_all_users("du")
            .args(["--summarize", "--block-size=1K", "--"])
            .arg(tree)
            .run()
            .map_err(map_io_error)?
            .text();
        let used_kib: u64 = used
            .split_whitespace()
            .next()
            .and_then(|it| it.parse().ok())
            .ok_or(BundleError::new(format!(
                "`du` measured no root file system, it said {used:?}"
            )))?;
        let file = InheritableFile::create(image, b"")?;
        file.set_size(image_size(used_kib))?;
        self.seeing_all_users("mke2fs")
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
                "-E",
            ])
            // The file is new, so what is not written reads as zeros, and needs no writing.
            .arg("lazy_itable_init=1,lazy_journal_init=1,assume_storage_prezeroed=1")
            .arg("-d")
            .arg(tree)
            .arg(file.name())
            .run()
            .map_err(|cause| {
                let folder = image.parent().unwrap_or(image);
                BundleError::because("make an ext4 image of the tree", cause).hint(format!(
                    "is there room? df -h {}",
                    folder.parent().unwrap_or(folder).display()
                ))
            })?;
        file.take_back()
    }

    /// A program that sees the tree's users as the guest will.
    fn seeing_all_users(&self, program: &str) -> Command {
        if self.unshare {
            Command::new(MMDEBSTRAP).args(["--unshare-helper", program])
        } else {
            Command::new(program)
        }
    }
}

/// The size of an image for this content, in bytes: a quarter and 384 MiB more, in steps of
/// 256 MiB, and at least 1 GiB.
fn image_size(used_kib: u64) -> u64 {
    const STEP: u64 = 256 << 20;
    let wanted = used_kib * 1024 / 4 * 5 + (384 << 20);
    wanted.div_ceil(STEP).max(4) * STEP
}

/// What went wrong, in mmdebstrap's words: the first complaint is the cause.
fn explain(complaints: &[String]) -> String {
    match complaints.first() {
        Some(first) => format!("mmdebstrap: {first}"),
        None => "mmdebstrap ended early".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(suite: &str, mirror: Option<&str>, include: &[&str]) -> bool {
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
    fn what_would_be_taken_for_an_option_or_a_second_line_is_refused() {
        let mirror = Some("http://mirror.example/debian");
        assert!(!refused("trixie", mirror, &["htop", "g++", "x:amd64"]));
        assert!(refused("--help", None, &[]));
        assert!(refused("trixie main", None, &[]));
        assert!(refused("", None, &[]));
        assert!(refused("trixie", Some("-"), &[]));
        assert!(refused("trixie", Some("http://a/ b"), &[]));
        assert!(refused("trixie", Some("http://a\ndeb"), &[]));
        assert!(refused("trixie", None, &["--hook"]));
        assert!(refused("trixie", None, &["a b"]));
        assert!(refused("trixie", None, &["./here.deb"]));
        assert!(refused("trixie", None, &[""]));
    }

    #[test]
    fn an_image_has_room_and_is_never_small() {
        assert_eq!(image_size(0), 1 << 30);
        assert_eq!(image_size(400 << 10), 1 << 30);
        assert_eq!(image_size(1 << 20), 1792 << 20);
        for used in [1u64, 500 << 10, 3 << 20, 40 << 20] {
            assert!(
                image_size(used) > used * 1024 * 5 / 4
                    && image_size(used).is_multiple_of(256 << 20)
            );
        }
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
    fn what_is_done_to_the_tree_is_a_program_that_a_shell_understands() {
        Command::new("sh")
            .args(["-n", "-c", CUSTOMIZE])
            .run()
            .unwrap();
    }
}
