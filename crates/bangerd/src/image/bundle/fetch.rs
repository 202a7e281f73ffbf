//! Takes a bundle from where somebody has put it, in place of an older one.
//!
//! ```text
//! source ► <downloads>/<sha256> ► .<name>.building-…/ ► digests ► exchanged, in one step
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use banger_api::Result;

use super::build::{Stage, StageSink, above, prefix, resolve, stage};
use super::build_directory::{self, BuildDirectory};
use super::interruption::Interruption;
use super::{Bundle, BundleError, source, unpack};
use crate::download::{CancelToken, Downloads, Progress};

/// How often the progress is told, in bytes.
const STEP: u64 = 32 << 20;

/// What a user may choose.
#[derive(Debug)]
pub struct FetchOptions {
    /// The file that says where the bundle is.
    pub manifest: PathBuf,
    /// Where it is put.
    pub directory: PathBuf,
    /// Where it is downloaded to.
    pub downloads: Downloads,
}

/// Fetches a bundle and puts it in place of an older one.
///
/// # Errors
/// Whatever went wrong; the older bundle is whole then, and what was downloaded is gone on with
/// the next time.
pub fn fetch(options: &FetchOptions, heard: StageSink<'_>) -> Result<Bundle> {
    let wanted = source::read(&options.manifest)?;
    let place = resolve(&options.directory)?;
    build_directory::check_place(&place)?;
    let cancel = CancelToken::default();
    let ending = cancel.clone();
    let interruption = Interruption::watch(move || ending.cancel())?;
    heard(Stage::Begins("download".to_owned()));
    let began = std::time::Instant::now();
    let mut next = STEP;
    let archive = options.downloads.fetch(&wanted, &cancel, &mut |it| {
        if let Some(remark) = remark(it, &mut next) {
            heard(Stage::Remark(remark));
        }
    })?;
    heard(Stage::Ended(began.elapsed().as_secs_f64()));
    let site = BuildDirectory::open(&above(&place), &prefix(&place))?;
    stage(heard, "unpack", |_| {
        unpack::unpack(&archive, site.folder(), unpack::LIMITS, &interruption)
    })?;
    stage(heard, "digests", |_| checked(site.folder()))?;
    interruption.check()?;
    stage(heard, "put in place", |_| site.put_in_place(&place))?;
    // It is of no more use, and as large as the bundle.
    let _ = fs::remove_file(archive);
    Ok(Bundle::load(&place)?)
}

/// Refuses what is no bundle that this banger uses.
fn checked(folder: &Path) -> super::Result<()> {
    let wrong = |error: BundleError| {
        BundleError::because("what was fetched is no whole bundle", error)
            .hint("pack a bundle of this version of banger: banger bundle package")
    };
    Bundle::load(folder)
        .and_then(|bundle| bundle.verify())
        .map_err(wrong)
}

/// What is told of the progress: words, and now and then how far it is.
fn remark(progress: Progress<'_>, next: &mut u64) -> Option<String> {
    match progress {
        Progress::Source(source) => Some(format!("from {source}")),
        Progress::Remark(words) => Some(words.to_owned()),
        Progress::Bytes { have, total } => {
            let is_whole = total == Some(have);
            if have < *next && !is_whole {
                return None;
            }
            *next = have + STEP;
            let have = have >> 20;
            Some(match total {
                Some(total) => format!("{have} of {} MiB", total >> 20),
                None => format!("{have} MiB"),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::download::Proxies;
    use crate::image::bundle::{package, tests};

    /// A package of a small bundle, and a place to fetch it to.
    struct World {
        folder: tempfile::TempDir,
        bundle: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let (folder, (bundle, _)) = (tempfile::tempdir().unwrap(), tests::bundle());
            let world = Self { folder, bundle };
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
        // What differs on another machine is not packed.
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
                .filter(|it| matches!(it, Stage::Begins(_)))
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
    fn whatever_is_wrong_the_old_bundle_stays() {
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
        let told = world.fetch("dist/own.toml").0.unwrap_err().report();
        assert!(told.contains("there is no bundle"), "{told}");
        assert!(told.contains("banger bundle package"), "{told}");
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
        let told = world.fetch("dist/own.toml").0.unwrap_err().report();
        assert!(told.contains("`vmlinux` is damaged"), "{told}");
        world.manifest("b.tar.gz", &"0".repeat(64));
        let told = world.fetch("dist/own.toml").0.unwrap_err().report();
        assert!(told.contains("SHA-256 of the"), "{told}");
        assert_eq!(world.names(""), ["bundle", "dist", "downloads"]);
        Bundle::load(&world.path("bundle"))
            .unwrap()
            .verify()
            .unwrap();
    }

    #[test]
    fn what_holds_something_else_is_left_alone_and_nothing_is_downloaded() {
        let world = World::new();
        fs::create_dir(world.path("bundle")).unwrap();
        fs::write(world.path("bundle/photo.jpg"), "x").unwrap();
        let (fetched, stages) = world.fetch("dist/runtime-bundle.toml");
        let told = fetched.unwrap_err().report();
        assert!(told.contains("something else than a bundle"), "{told}");
        assert!(stages.is_empty());
    }
}
