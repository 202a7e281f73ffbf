//! The commands of `banger bundle`, which the daemon's program runs.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use banger_api::location::Location;
use banger_api::{Code, Error};

use super::{Options, environment, find_bundle};
use crate::config::Config;
use crate::download::{Downloads, Proxies};
use crate::error::{During, Result};
use crate::guest::program;
use crate::image::bundle::{self, BuildOptions, Bundle, FetchOptions, Stage};
use crate::layout::Layout;

/// The options of `bundle build`.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// The folder of the bundle. Default: the one that VMs use.
    pub dir: Option<PathBuf>,
    /// The Debian suite.
    pub suite: String,
    /// The mirror. Default: Debian's own.
    pub mirror: Option<String>,
    /// Additional packages.
    pub include: Vec<String>,
    /// The static guest program. Default: the one beside this program.
    pub guest: Option<PathBuf>,
}

/// Builds the bundle, and prints each stage on standard error.
///
/// # Errors
/// If the build fails; an old bundle is kept.
pub fn build(options: &Options, build: Build) -> Result<()> {
    let beside = std::env::current_exe()
        .map(|exe| exe.with_file_name(program::FILE))
        .map_err(|cause| Error::new(Code::Host, "find this program").cause(cause.to_string()))?;
    let build = BuildOptions {
        directory: location(options, build.dir)?.bundle,
        suite: build.suite,
        mirror: build.mirror,
        include: build.include,
        guest: build.guest.unwrap_or(beside),
        proxies: Proxies::read(environment),
    };
    let built = bundle::build(&build, &mut progress(options));
    let built = built.during("build the bundle")?;
    report(options, &build.directory, &built);
    Ok(())
}

/// Fetches the bundle of a manifest, and prints each stage on standard error.
///
/// # Errors
/// If the bundle cannot be downloaded, or differs from the manifest; an old bundle is kept.
pub fn fetch(options: &Options, manifest: PathBuf, dir: Option<PathBuf>) -> Result<()> {
    let location = location(options, dir)?;
    let downloads = Layout::new(&location.state).downloads();
    let fetch = FetchOptions {
        manifest,
        directory: location.bundle,
        downloads: Downloads::new(downloads, Proxies::read(environment)),
    };
    let fetched = bundle::fetch(&fetch, &mut progress(options)).during("fetch the bundle")?;
    report(options, &fetch.directory, &fetched);
    Ok(())
}

/// Packages the bundle as an archive, and prints its SHA-256 as sha256sum(1) does.
///
/// # Errors
/// If the bundle is incomplete, or the archive cannot be written.
pub fn package(options: &Options, archive: &Path, dir: Option<PathBuf>) -> Result<()> {
    let location = location(options, dir)?;
    let packed = bundle::package(&location.bundle, archive).during("package the bundle")?;
    if options.json {
        let packed = serde_json::json!({
            "archive": packed.archive,
            "manifest": packed.manifest,
            "sha256": packed.sha256.to_string(),
            "size_bytes": packed.size,
        });
        let _ = writeln!(std::io::stdout(), "{packed}");
        return Ok(());
    }
    let _ = writeln!(
        std::io::stderr(),
        "packed {} into {} ({} MiB); fetch it with: banger bundle fetch --manifest {}",
        location.bundle.display(),
        packed.archive.display(),
        packed.size >> 20,
        packed.manifest.display(),
    );
    let archive = packed.archive.display();
    let _ = writeln!(std::io::stdout(), "{}  {archive}", packed.sha256);
    Ok(())
}

/// The location of the daemon's files, with the bundle in `dir` if given.
pub(super) fn location(options: &Options, dir: Option<PathBuf>) -> Result<Location> {
    let mut location = Location::find(&options.wishes, environment)?;
    let config = Config::load(&location.config)?;
    find_bundle(&mut location, options, &config);
    location.bundle = dir.unwrap_or(location.bundle);
    Ok(location)
}

/// Prints each stage on standard error, unless the output is JSON. Write errors are ignored.
pub(super) fn progress(options: &Options) -> impl FnMut(Stage) + use<> {
    let is_silent = options.json;
    move |stage| {
        if is_silent {
            return;
        }
        let mut stderr = std::io::stderr();
        let _ = match stage {
            Stage::Begun(name) => writeln!(stderr, "{name} …"),
            Stage::Remark(line) => writeln!(stderr, "  {line}"),
            Stage::Ended(seconds) => writeln!(stderr, "  done in {seconds:.1} s"),
        };
    }
}

/// Prints the bundle's folder and versions: on standard error, or as JSON on standard output.
fn report(options: &Options, directory: &Path, bundle: &Bundle) {
    if options.json {
        let ready = serde_json::json!({
            "directory": directory,
            "suite": bundle.suite(),
            "kernel_version": bundle.kernel_version(),
        });
        let _ = writeln!(std::io::stdout(), "{ready}");
        return;
    }
    let _ = writeln!(
        std::io::stderr(),
        "the bundle is ready: {} ({}, Linux {})",
        directory.display(),
        bundle.suite(),
        bundle.kernel_version()
    );
}
