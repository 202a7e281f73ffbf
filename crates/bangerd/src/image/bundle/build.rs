//! Makes a bundle: aside, in stages, and exchanged with the old one once it is whole.
//!
//! ```text
//! /var/tmp/banger-bundle-<uid>-…/tree    what mmdebstrap makes of packages
//!        │                │
//!     mke2fs        kernel, modules
//!        ▼                ▼
//! .<name>.building-…/   rootfs.ext4, vmlinux, modules/, banger-guest, bundle.json
//!        │
//!        ▼ exchanged, in one step
//! <name>/
//! ```
//!
//! The tree is not made beside the bundle because a user's subordinate ids, who make it, may not
//! look into the user's home.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::build_directory::{self, BuildDirectory, TREE};
use super::interruption::Interruption;
use super::rootfs::Recipe;
use super::{
    Bundle, BundleError, GUEST, MANIFEST, MODULES, Manifest, Proxies, ROOTFS, Result, SCHEMA,
    VMLINUX, digest, kernel, requirements, sources,
};
use crate::guest::program;

/// Where trees are made: on a disk, and open to all.
const WORKSHOP: &str = "/var/tmp";

/// The packed kernel, between two stages.
const VMLINUZ: &str = "vmlinuz";

/// What a user may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOptions {
    /// Where the bundle is put.
    pub directory: PathBuf,
    /// The Debian suite.
    pub suite: String,
    /// The mirror; Debian's own without one.
    pub mirror: Option<String>,
    /// Further packages.
    pub include: Vec<String>,
    /// The static guest program.
    pub guest: PathBuf,
    /// The proxies that packages are downloaded through.
    pub proxies: Proxies,
}

/// What is heard of a build.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// A stage begins.
    Begins(String),
    /// Something within it.
    Remark(String),
    /// It has ended, after so many seconds.
    Ended(f64),
}

pub(super) type StageSink<'a> = &'a mut dyn FnMut(Stage);

/// Makes a bundle and puts it in place of an older one.
///
/// # Errors
/// Whatever went wrong; the older bundle is whole then.
pub fn build(options: &BuildOptions, heard: StageSink<'_>) -> Result<Bundle> {
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
    let place = resolve(&options.directory)?;
    build_directory::check_place(&place)?;
    requirements::check(recipe.unshare)?;
    let interruption = Interruption::watch(|| {})?;
    let site = BuildDirectory::open(&above(&place), &prefix(&place))?;
    let workshop = BuildDirectory::open_to_all(
        Path::new(WORKSHOP),
        &format!("banger-bundle-{}-", user.as_raw()),
        recipe.unshare,
    )?;
    let filled = fill(
        &recipe,
        &options.guest,
        site.folder(),
        workshop.folder(),
        heard,
    );
    // What a program says that was ended by ^C is not the cause.
    interruption.check()?;
    filled?;
    stage(heard, "put in place", |_| site.put_in_place(&place))?;
    Bundle::load(&place)
}

/// Rejects a guest program that the daemon of this build would not start a guest with.
fn check_guest(path: &Path) -> Result<()> {
    program::load(path).map(drop).map_err(|reason| {
        BundleError::new(format!("the guest program `{}` {reason}", path.display()))
            .hint("build it: make guest   (then name it: --guest target/dist/banger-guest)")
    })
}

fn copy_program(from: &Path, to: &Path) -> Result<()> {
    let map_io_error = |cause| BundleError::because(format!("copy `{}`", from.display()), cause);
    fs::copy(from, to).map_err(map_io_error)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(map_io_error)
}

/// All stages that make a bundle of nothing, in `folder`.
fn fill(
    recipe: &Recipe<'_>,
    guest: &Path,
    folder: &Path,
    workshop: &Path,
    heard: StageSink<'_>,
) -> Result<()> {
    let tree = workshop.join(TREE);
    let temporary = workshop.join("tmp");
    fs::create_dir(&temporary)
        .map_err(|cause| BundleError::because(format!("make `{}`", temporary.display()), cause))?;
    let part = |name: &str| folder.join(name);
    let lines = match recipe.mirror {
        Some(mirror) => stage(heard, &format!("look at the mirror {mirror}"), |_| {
            sources::find(mirror, recipe.suite, recipe.proxies, workshop)
        })?,
        None => Vec::new(),
    };
    stage(
        heard,
        &format!("root file system of Debian {}", recipe.suite),
        |heard| {
            let mut remark = |line: &str| heard(Stage::Remark(line.to_owned()));
            recipe.make_tree(&lines, &tree, &temporary, &part(VMLINUZ), &mut remark)
        },
    )?;
    let kernel_version = stage(heard, "unpack the kernel", |_| {
        kernel::unpack(&part(VMLINUZ), &part(VMLINUX))?;
        remove_file(&part(VMLINUZ))?;
        let version = kernel::version(&tree)?;
        kernel::copy_modules(&tree, &version, &part(MODULES))?;
        Ok(version)
    })?;
    stage(heard, "ext4 image", |_| {
        recipe.make_image(&tree, &part(ROOTFS))
    })?;
    stage(heard, "digests", |_| {
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
            .map_err(|cause| BundleError::because("write the manifest", cause))?;
        fs::write(part(MANIFEST), text)
            .map_err(|cause| BundleError::because(format!("write `{MANIFEST}`"), cause))
    })
}

pub(super) fn stage<T>(
    heard: StageSink<'_>,
    name: &str,
    work: impl FnOnce(&mut dyn FnMut(Stage)) -> Result<T>,
) -> Result<T> {
    heard(Stage::Begins(name.to_owned()));
    let began = Instant::now();
    let outcome = work(heard)?;
    heard(Stage::Ended(began.elapsed().as_secs_f64()));
    Ok(outcome)
}

/// The place itself, where `directory` is a link to it.
pub(super) fn resolve(directory: &Path) -> Result<PathBuf> {
    let map_io_error =
        |cause| BundleError::because(format!("find `{}`", directory.display()), cause);
    if directory.symlink_metadata().is_ok() {
        return directory.canonicalize().map_err(map_io_error);
    }
    std::path::absolute(directory).map_err(map_io_error)
}

pub(super) fn above(place: &Path) -> PathBuf {
    place.parent().unwrap_or(Path::new("/")).to_owned()
}

/// How the folders begin in which a bundle for this place is made.
pub(super) fn prefix(place: &Path) -> String {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.building-")
}

fn remove_file(path: &Path) -> Result<()> {
    fs::remove_file(path)
        .map_err(|cause| BundleError::because(format!("remove `{}`", path.display()), cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(place: &Path, guest: &Path) -> BuildOptions {
        BuildOptions {
            directory: place.to_owned(),
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
        let place = above.path().join("bundle");
        let guest = above.path().join("absent");
        let mut stages = Vec::new();
        let mut heard = |stage: Stage| stages.push(stage);
        let error = build(&options(&place, &guest), &mut heard).unwrap_err();
        assert!(error.to_string().contains("guest program"), "{error}");
        let mut strange = options(&place, &guest);
        strange.suite = "--help".to_owned();
        assert!(
            build(&strange, &mut heard)
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
        let outcome: Result<()> = stage(&mut |stage| stages.push(stage), "digging", |heard| {
            heard(Stage::Remark("deep".to_owned()));
            Err(BundleError::new("rock"))
        });
        assert_eq!(outcome.unwrap_err().to_string(), "rock");
        assert_eq!(
            stages,
            [
                Stage::Begins("digging".to_owned()),
                Stage::Remark("deep".to_owned())
            ]
        );
    }
}
