//! What the daemon's program does with bundles, for `banger bundle`.

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

/// What a bundle is built from, as its user says it.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Where it is put.
    pub dir: Option<PathBuf>,
    /// The Debian suite.
    pub suite: String,
    /// The mirror.
    pub mirror: Option<String>,
    /// Further packages.
    pub include: Vec<String>,
    /// The static guest program.
    pub guest: Option<PathBuf>,
}

/// Makes the bundle, and tells each stage on standard error.
///
/// # Errors
/// When it could not be made; the old one, if there is one, is whole.
pub fn build(options: &Options, build: Build) -> Result<()> {
    let beside = std::env::current_exe()
        .map(|exe| exe.with_file_name(program::FILE))
        .map_err(|cause| Error::new(Code::Host, "find this program").cause(cause.to_string()))?;
    let build = BuildOptions {
        directory: place(options, build.dir)?.bundle,
        suite: build.suite,
        mirror: build.mirror,
        include: build.include,
        guest: build.guest.unwrap_or(beside),
        proxies: Proxies::read(environment),
    };
    let built = bundle::build(&build, &mut progress(options)).map_err(Error::from);
    let built = built.during("build the bundle")?;
    report(options, &build.directory, &built);
    Ok(())
}

/// Fetches the bundle that a manifest names, and tells each stage on standard error.
///
/// # Errors
/// When it is not to be had, or is not what the manifest says; the old one, if there is one, is
/// whole.
pub fn fetch(options: &Options, manifest: PathBuf, dir: Option<PathBuf>) -> Result<()> {
    let location = place(options, dir)?;
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

/// Packs the bundle into an archive, and prints its SHA-256 as sha256sum(1) does.
///
/// # Errors
/// When there is no whole bundle, or the archive cannot be written.
pub fn package(options: &Options, archive: &Path, dir: Option<PathBuf>) -> Result<()> {
    let location = place(options, dir)?;
    let packed = bundle::package(&location.bundle, archive).map_err(Error::from);
    let packed = packed.during("package the bundle")?;
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

/// The places, with the bundle in this folder if one is named, else where VMs take it from.
fn place(options: &Options, dir: Option<PathBuf>) -> Result<Location> {
    let mut location = Location::find(&options.wishes, environment)?;
    let config = Config::load(&location.config)?;
    find_bundle(&mut location, options, &config);
    location.bundle = dir.unwrap_or(location.bundle);
    Ok(location)
}

/// Prints each stage on standard error, unless the result is wanted as JSON. Nobody may be
/// listening; the work goes on all the same.
fn progress(options: &Options) -> impl FnMut(Stage) + use<> {
    let is_silent = options.json;
    move |stage| {
        if is_silent {
            return;
        }
        let mut stderr = std::io::stderr();
        let _ = match stage {
            Stage::Begins(name) => writeln!(stderr, "{name} …"),
            Stage::Remark(line) => writeln!(stderr, "  {line}"),
            Stage::Ended(seconds) => writeln!(stderr, "  done in {seconds:.1} s"),
        };
    }
}

/// Prints which bundle is where: on standard error, or as JSON on standard output.
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
