//! Builds a bundle in a temporary folder, and exchanges it with the old one when it is complete.
//!
//! ```text
//! /var/tmp/banger-bundle-<uid>-…/tree    mmdebstrap's tree
//!        │                │
//!     mke2fs        kernel, modules
//!        ▼                ▼
//! .<name>.building-…/   rootfs.ext4, vmlinux, modules/, banger-guest, bundle.json
//!        │
//!        ▼ exchanged, in one step
//! <name>/
//! ```
//!
//! The tree is in /var/tmp because the user's subordinate ids, which own it, have no access to the
//! user's home.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::build_directory::{self, BuildDirectory, TREE};
use super::error::{failure, failure_caused_by};
use super::interrupt::InterruptSignal;
use super::rootfs::{self, Recipe};
use super::{
    Bundle, GUEST, MANIFEST, MODULES, Manifest, Proxies, ROOTFS, Result, SCHEMA, VMLINUX, digest,
    kernel, requirements, sources,
};
use crate::guest::program;

/// The parent of the trees: on a disk, and accessible to all users.
pub(in crate::image) const TREES: &str = "/var/tmp";

/// The compressed kernel, which exists between two stages only.
const VMLINUZ: &str = "vmlinuz";

/// The options of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildOptions {
    /// The folder of the bundle.
    pub directory: PathBuf,
    /// The Debian suite.
    pub suite: String,
    /// The mirror. Default: Debian's own.
    pub mirror: Option<String>,
    /// Additional packages.
    pub include: Vec<String>,
    /// The static guest program.
    pub guest: PathBuf,
    /// The proxies for downloading packages.
    pub proxies: Proxies,
}

/// The progress of a build or a fetch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    /// A stage has begun.
    Begun(String),
    /// A remark within the stage.
    Remark(String),
    /// The stage has ended; its duration in seconds.
    Ended(f64),
}

pub(in crate::image) type StageSink<'a> = &'a mut dyn FnMut(Stage);

/// Builds a bundle, which replaces an older one.
///
/// # Errors
/// The first failure; the older bundle stays as it is.
pub(crate) fn build(options: &BuildOptions, progress: StageSink<'_>) -> Result<Bundle> {
    let user = rustix::process::geteuid();
    let recipe = Recipe {
        suite: &options.suite,
        mirror: options.mirror.as_deref(),
        include: &options.include,
        proxies: &options.proxies,
        unshare: !user.is_root(),
    };
    recipe.check()?;
    check_guest(&options.guest)?;
    let target = resolve(&options.directory)?;
    build_directory::check_target(&target)?;
    requirements::check(recipe.unshare)?;
    let interrupt = InterruptSignal::watch(|| {})?;
    let directory = BuildDirectory::create(&above(&target), &prefix(&target))?;
    let scratch = BuildDirectory::create_public(
        Path::new(TREES),
        &format!("banger-bundle-{}-", user.as_raw()),
        recipe.unshare,
    )?;
    let filled = fill(
        &recipe,
        &options.guest,
        directory.folder(),
        scratch.folder(),
        progress,
    );
    // After ^C the cause is the interrupt, not the complaint of a program that it ended.
    interrupt.check()?;
    filled?;
    stage(progress, "put in place", |_| directory.publish(&target))?;
    Bundle::load(&target)
}

/// Rejects a guest program that this build's daemon would not start a guest with.
fn check_guest(path: &Path) -> Result<()> {
    program::load(path).map(drop).map_err(|reason| {
        failure(format!("the guest program `{}` {reason}", path.display()))
            .hint("build it: make guest   (then name it: --guest target/dist/banger-guest)")
    })
}

fn copy_program(from: &Path, to: &Path) -> Result<()> {
    let map_io_error = |cause| failure_caused_by(format!("copy `{}`", from.display()), cause);
    fs::copy(from, to).map_err(map_io_error)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(map_io_error)
}

/// Runs all stages of a build, in `folder`.
fn fill(
    recipe: &Recipe<'_>,
    guest: &Path,
    folder: &Path,
    scratch: &Path,
    progress: StageSink<'_>,
) -> Result<()> {
    let tree = scratch.join(TREE);
    let temporary = scratch.join("tmp");
    fs::create_dir(&temporary)
        .map_err(|cause| failure_caused_by(format!("make `{}`", temporary.display()), cause))?;
    let part = |name: &str| folder.join(name);
    let lines = match recipe.mirror {
        Some(mirror) => stage(progress, &format!("query the mirror {mirror}"), |_| {
            sources::find(mirror, recipe.suite, recipe.proxies, scratch)
        })?,
        None => Vec::new(),
    };
    stage(
        progress,
        &format!("root file system of Debian {}", recipe.suite),
        |progress| {
            let mut remark = |line: &str| progress(Stage::Remark(line.to_owned()));
            recipe.make_tree(&lines, &tree, &temporary, &part(VMLINUZ), &mut remark)
        },
    )?;
    let kernel_version = stage(progress, "unpack the kernel", |_| {
        kernel::unpack(&part(VMLINUZ), &part(VMLINUX))?;
        remove_file(&part(VMLINUZ))?;
        let version = kernel::version(&tree)?;
        kernel::copy_modules(&tree, &version, &part(MODULES))?;
        Ok(version)
    })?;
    stage(progress, "ext4 image", |_| {
        rootfs::make_image(recipe.unshare, &tree, &part(ROOTFS))
    })?;
    stage(progress, "digests", |_| {
        copy_program(guest, &part(GUEST))?;
        let manifest = Manifest {
            schema: SCHEMA,
            suite: recipe.suite.to_owned(),
            architecture: "amd64".to_owned(),
            created: jiff::Timestamp::now(),
            kernel_version,
            vmlinux: digest::file(&part(VMLINUX))?,
            modules: digest::folder(&part(MODULES))?,
            rootfs: digest::file(&part(ROOTFS))?,
            guest: digest::file(&part(GUEST))?,
        };
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|cause| failure_caused_by("write the manifest", cause))?;
        fs::write(part(MANIFEST), text)
            .map_err(|cause| failure_caused_by(format!("write `{MANIFEST}`"), cause))
    })
}

/// Runs one stage, and reports its begin, remarks and end.
pub(in crate::image) fn stage<T>(
    progress: StageSink<'_>,
    name: &str,
    work: impl FnOnce(&mut dyn FnMut(Stage)) -> Result<T>,
) -> Result<T> {
    progress(Stage::Begun(name.to_owned()));
    let began = Instant::now();
    let outcome = work(progress)?;
    progress(Stage::Ended(began.elapsed().as_secs_f64()));
    Ok(outcome)
}

/// The absolute path of `directory`, with symbolic links resolved.
pub(super) fn resolve(directory: &Path) -> Result<PathBuf> {
    let map_io_error = |cause| failure_caused_by(format!("find `{}`", directory.display()), cause);
    if directory.symlink_metadata().is_ok() {
        return directory.canonicalize().map_err(map_io_error);
    }
    std::path::absolute(directory).map_err(map_io_error)
}

/// The parent of the bundle's folder.
pub(super) fn above(target: &Path) -> PathBuf {
    target.parent().unwrap_or(Path::new("/")).to_owned()
}

/// The prefix of the names of temporary folders for this bundle.
pub(super) fn prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.building-")
}

fn remove_file(path: &Path) -> Result<()> {
    fs::remove_file(path)
        .map_err(|cause| failure_caused_by(format!("remove `{}`", path.display()), cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(target: &Path, guest: &Path) -> BuildOptions {
        BuildOptions {
            directory: target.to_owned(),
            suite: "trixie".to_owned(),
            mirror: None,
            include: Vec::new(),
            guest: guest.to_owned(),
            proxies: Proxies::default(),
        }
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_is_begun() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("bundle");
        let guest = above.path().join("absent");
        let mut stages = Vec::new();
        let mut progress = |stage: Stage| stages.push(stage);
        let error = build(&options(&target, &guest), &mut progress).unwrap_err();
        assert!(error.to_string().contains("guest program"), "{error}");
        let mut strange = options(&target, &guest);
        strange.suite = "--help".to_owned();
        assert!(
            build(&strange, &mut progress)
                .unwrap_err()
                .to_string()
                .contains("not a suite")
        );
        assert!(stages.is_empty());
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_is_followed_to_the_place_itself() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("real");
        fs::create_dir(&real).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(resolve(&link).unwrap(), real);
        let absent = real.join("not/there");
        assert_eq!(resolve(&absent).unwrap(), absent);
        assert_eq!(prefix(&real), ".real.building-");
    }

    #[test]
    fn a_stage_that_fails_does_not_end() {
        let mut stages = Vec::new();
        let outcome: Result<()> = stage(&mut |stage| stages.push(stage), "digging", |progress| {
            progress(Stage::Remark("deep".to_owned()));
            Err(failure("rock"))
        });
        assert_eq!(outcome.unwrap_err().to_string(), "rock");
        assert_eq!(
            stages,
            [
                Stage::Begun("digging".to_owned()),
                Stage::Remark("deep".to_owned())
            ]
        );
    }
}
