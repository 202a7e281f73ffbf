//! Downloads a packaged bundle, which replaces an older one.
//!
//! ```text
//! source ► <downloads>/<sha256> ► .<name>.building-…/ ► digests ► exchanged, in one step
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use banger_api::{Error, Result};

use super::build::{Stage, StageSink, above, prefix, resolve, stage};
use super::build_directory::{self, BuildDirectory};
use super::error::failure_caused_by;
use super::interrupt::InterruptSignal;
use super::{Bundle, source, unpack};
use crate::download::{CancelToken, Downloads, Remarks};

/// The options of a fetch.
#[derive(Debug)]
pub(crate) struct FetchOptions {
    /// The file with the bundle's address and digest.
    pub manifest: PathBuf,
    /// The folder of the bundle.
    pub directory: PathBuf,
    /// The cache of downloads.
    pub downloads: Downloads,
}

/// Fetches a bundle, which replaces an older one.
///
/// # Errors
/// The first failure; the older bundle stays as it is, and the next fetch resumes the download.
pub(crate) fn fetch(options: &FetchOptions, progress: StageSink<'_>) -> Result<Bundle> {
    let download = source::read(&options.manifest)?;
    let target = resolve(&options.directory)?;
    build_directory::check_target(&target)?;
    let cancel = CancelToken::default();
    let ending = cancel.clone();
    let interrupt = InterruptSignal::watch(move || ending.cancel())?;
    progress(Stage::Begun("download".to_owned()));
    let began = std::time::Instant::now();
    let mut remarks = Remarks::default();
    let archive = options.downloads.fetch(&download, &cancel, &mut |it| {
        if let Some(remark) = remarks.line(it) {
            progress(Stage::Remark(remark));
        }
    })?;
    progress(Stage::Ended(began.elapsed().as_secs_f64()));
    let directory = BuildDirectory::create(&above(&target), &prefix(&target))?;
    stage(progress, "unpack", |_| {
        unpack::unpack(&archive, directory.folder(), unpack::LIMITS, &interrupt)
    })?;
    stage(progress, "digests", |_| check(directory.folder()))?;
    interrupt.check()?;
    stage(progress, "put in place", |_| directory.publish(&target))?;
    // The archive is as large as the bundle, and no longer needed.
    let _ = fs::remove_file(archive);
    Bundle::load(&target)
}

/// Rejects a folder without a complete bundle of this format.
fn check(folder: &Path) -> Result<()> {
    let wrong = |error: Error| {
        failure_caused_by("the archive does not contain a complete bundle", error)
            .hint("package it again, with this version of banger: banger bundle package")
    };
    Bundle::load(folder)
        .and_then(|bundle| bundle.verify())
        .map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::download::Proxies;
    use crate::image::bundle::{interrupt, package, tests};

    /// A package of a small bundle, and a folder to fetch it into.
    struct World {
        folder: tempfile::TempDir,
        bundle: tempfile::TempDir,
        _uninterrupted: std::sync::RwLockReadGuard<'static, ()>,
    }

    impl World {
        fn new() -> Self {
            let (folder, (bundle, _)) = (tempfile::tempdir().unwrap(), tests::bundle());
            let world = Self {
                folder,
                bundle,
                _uninterrupted: interrupt::tests::uninterrupted(),
            };
            world.package();
            world
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().canonicalize().unwrap().join(name)
        }

        fn package(&self) -> package::Package {
            package::package(self.bundle.path(), &self.path("dist/b.tar.gz")).unwrap()
        }

        fn fetch(&self, manifest: &str) -> (Result<Bundle>, Vec<Stage>) {
            let options = FetchOptions {
                manifest: self.path(manifest),
                directory: self.path("bundle"),
                downloads: Downloads::new(self.path("downloads"), Proxies::default()),
            };
            let mut stages = Vec::new();
            let fetched = fetch(&options, &mut |it| stages.push(it));
            (fetched, stages)
        }

        /// A manifest beside the archive, with this address and digest.
        fn manifest(&self, url: &str, sha256: &str) {
            let text = format!("url = {url:?}\nsha256 = {sha256:?}\n");
            fs::write(self.path("dist/own.toml"), text).unwrap();
        }

        fn names(&self, folder: &str) -> Vec<String> {
            let entries = fs::read_dir(self.path(folder)).unwrap();
            let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        }
    }

    #[test]
    fn the_same_bundle_gives_the_same_package() {
        let world = World::new();
        let first = world.package();
        let bytes = fs::read(&first.archive).unwrap();
        // Times differ on another machine, and are not packed.
        for entry in ["vmlinux", "modules/veth.ko"] {
            let path = world.bundle.path().join(entry);
            let old = std::time::SystemTime::UNIX_EPOCH;
            fs::File::open(path).unwrap().set_modified(old).unwrap();
        }
        assert_eq!(world.package(), first);
        assert!(fs::read(&first.archive).unwrap() == bytes);
        assert_eq!(first.size, bytes.len() as u64);
        assert_eq!(world.names("dist"), ["b.tar.gz", "runtime-bundle.toml"]);
    }

    #[test]
    fn a_package_is_fetched_by_every_kind_of_address_and_replaces_the_old_bundle() {
        let world = World::new();
        fs::write(world.bundle.path().join("firecracker"), "program").unwrap();
        let packed = world.package();
        let (archive, sha256) = (packed.archive.display(), packed.sha256.to_uppercase());
        for url in [
            "b.tar.gz".to_owned(),
            "../dist/b.tar.gz".to_owned(),
            archive.to_string(),
            format!("file://{archive}"),
        ] {
            world.manifest(&url, &sha256);
            let (fetched, stages) = world.fetch("dist/own.toml");
            fetched.unwrap().verify().unwrap();
            let begun: Vec<_> = stages
                .iter()
                .filter(|it| matches!(it, Stage::Begun(_)))
                .collect();
            assert_eq!(begun.len(), 4);
        }
        let firecracker = fs::read(world.path("bundle/firecracker")).unwrap();
        assert_eq!(firecracker, b"program");
        assert_eq!(world.names(""), ["bundle", "dist", "downloads"]);
        assert!(world.names("downloads").is_empty());
        let (fetched, _) = world.fetch("dist/runtime-bundle.toml");
        fetched.unwrap();
    }

    #[test]
    fn a_failed_fetch_keeps_the_old_bundle() {
        let world = World::new();
        world.fetch("dist/runtime-bundle.toml").0.unwrap();
        let pack = |entries: &[(&str, &str)]| {
            let file = fs::File::create(world.path("dist/other.tar.gz")).unwrap();
            let gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            let mut builder = tar::Builder::new(gzip);
            for (name, content) in entries {
                let mut header = tar::Header::new_ustar();
                header.set_mode(0o644);
                header.set_size(content.len() as u64);
                builder
                    .append_data(&mut header, name, content.as_bytes())
                    .unwrap();
            }
            builder.into_inner().unwrap().finish().unwrap();
            let mut file = fs::File::open(world.path("dist/other.tar.gz")).unwrap();
            crate::download::Digest::of(&mut file, |_| Ok(())).unwrap()
        };
        let some = pack(&[("photo.jpg", "x")]);
        world.manifest("other.tar.gz", some.as_str());
        let report = world.fetch("dist/own.toml").0.unwrap_err().report();
        assert!(report.contains("there is no bundle"), "{report}");
        assert!(report.contains("banger bundle package"), "{report}");
        let manifest = fs::read_to_string(world.bundle.path().join("bundle.json")).unwrap();
        let damaged = pack(&[
            ("bundle.json", &manifest),
            ("vmlinux", "vmlinuX"),
            ("rootfs.ext4", "rootfs.ext4"),
            ("banger-guest", "banger-guest"),
            ("modules/modules.dep", ""),
            ("modules/veth.ko", "veth"),
        ]);
        world.manifest("other.tar.gz", damaged.as_str());
        let report = world.fetch("dist/own.toml").0.unwrap_err().report();
        assert!(report.contains("`vmlinux` is damaged"), "{report}");
        world.manifest("b.tar.gz", &"0".repeat(64));
        let report = world.fetch("dist/own.toml").0.unwrap_err().report();
        assert!(report.contains("SHA-256 of the"), "{report}");
        assert_eq!(world.names(""), ["bundle", "dist", "downloads"]);
        Bundle::load(&world.path("bundle"))
            .unwrap()
            .verify()
            .unwrap();
    }

    #[test]
    fn a_folder_with_other_content_is_rejected_before_the_download() {
        let world = World::new();
        fs::create_dir(world.path("bundle")).unwrap();
        fs::write(world.path("bundle/photo.jpg"), "x").unwrap();
        let (fetched, stages) = world.fetch("dist/runtime-bundle.toml");
        let report = fetched.unwrap_err().report();
        assert!(report.contains("contains no bundle"), "{report}");
        assert!(stages.is_empty());
    }
}
