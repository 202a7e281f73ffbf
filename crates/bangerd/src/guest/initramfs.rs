//! The first archive of the initramfs: the modules that the guest needs before it has a root
//! file system, uncompressed and in the order of loading.
//!
//! The kernel reads concatenated archives as one initramfs:
//! <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use banger_api::{Code, Error};

use crate::error::{During, Result};

/// The modules that `/init` needs, unless the kernel has them built in.
///
/// The MMIO transport is for hypervisors without a PCI bus, the socket for the channel of
/// Firecracker.
const WANTED: [&str; 8] = [
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "vmw_vsock_virtio_transport",
    "ext4",
];

/// The first archive.
#[derive(Debug)]
pub(crate) struct Base {
    /// Its bytes.
    pub archive: Vec<u8>,
    /// The paths of the modules within it, in the order of loading.
    pub modules: Vec<String>,
}

/// Makes the first archive from a folder of modules (`/lib/modules/<version>`).
///
/// # Errors
/// A file cannot be read, or has an unknown compression.
pub(crate) fn base(modules: &Path) -> Result<Base> {
    let order = loading_order(modules)?;
    let mut archive = Archive::default();
    for folder in ["dev", "proc", "sys", "run", "modules", "newroot", "banger"] {
        archive.directory(folder)?;
    }
    let mut paths = Vec::new();
    for (name, file) in order {
        let bytes = uncompressed(&modules.join(&file))?;
        archive.file(&format!("modules/{name}.ko"), 0o600, &bytes)?;
        paths.push(format!("/modules/{name}.ko"));
    }
    Ok(Base {
        archive: archive.finish()?,
        modules: paths,
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|cause| {
        Error::new(Code::Host, format!("read `{}`", path.display())).cause(cause.to_string())
    })
}

/// The kernel's name of a module, from its file name.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(".ko").next().unwrap_or(name).replace('-', "_")
}

/// The given modules with their dependencies, in the order of loading, from `modules.dep`
/// (modules.dep(5)).
fn loading_order(modules: &Path) -> Result<Vec<(String, String)>> {
    let path = modules.join("modules.dep");
    let text = read(&path)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut needs: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((file, dependencies)) = line.split_once(':') {
            let dependencies = dependencies.split_whitespace().map(module_name).collect();
            needs.insert(module_name(file), (file.to_owned(), dependencies));
        }
    }
    let mut order = Vec::new();
    for name in WANTED {
        visit(name, &needs, &mut order);
    }
    Ok(order)
}

fn visit(
    name: &str,
    needs: &BTreeMap<String, (String, Vec<String>)>,
    order: &mut Vec<(String, String)>,
) {
    if order.iter().any(|(seen, _)| seen == name) {
        return;
    }
    let Some((file, dependencies)) = needs.get(name) else {
        return;
    };
    // modules.dep lists the transitive dependencies, so no recursion is needed.
    for dependency in dependencies.iter().filter(|it| it.as_str() != name) {
        visit(dependency, needs, order);
    }
    if !order.iter().any(|(seen, _)| seen == name) {
        order.push((name.to_owned(), file.clone()));
    }
}

fn uncompressed(path: &Path) -> Result<Vec<u8>> {
    let bytes = read(path)?;
    let what = || format!("unpack `{}`", path.display());
    let mut out = Vec::new();
    let unpacked = match path.extension().and_then(|it| it.to_str()) {
        Some("ko") => return Ok(bytes),
        Some("xz") => xz2::read::XzDecoder::new(bytes.as_slice()).read_to_end(&mut out),
        Some("zst") => zstd::stream::read::Decoder::new(bytes.as_slice())
            .and_then(|mut it| it.read_to_end(&mut out)),
        Some("gz") => flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut out),
        other => {
            let cause = format!("unknown compression: {other:?}");
            return Err(Error::new(Code::Host, cause)).during(what());
        }
    };
    match unpacked {
        Ok(_) => Ok(out),
        Err(cause) => Err(Error::new(Code::Host, cause.to_string())).during(what()),
    }
}

/// A writer of cpio archives in the "newc" format, which the kernel reads.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a folder.
    ///
    /// # Errors
    /// The name is too long.
    pub(crate) fn directory(&mut self, name: &str) -> Result<()> {
        self.entry(name, 0o040_755, &[])
    }

    /// Adds a file.
    ///
    /// # Errors
    /// It is larger than 4 GiB.
    pub(crate) fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entry(name, 0o100_000 | mode, content)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let invalid =
            |cause: String| Error::new(Code::Internal, format!("pack `{name}`")).cause(cause);
        let length = u32::try_from(content.len()).map_err(|cause| invalid(cause.to_string()))?;
        self.entries += 1;
        let builder = cpio::NewcBuilder::new(name)
            .ino(self.entries)
            .mode(mode)
            .nlink(1);
        let mut writer = builder.write(&mut self.bytes, length);
        std::io::Write::write_all(&mut writer, content)
            .map_err(|cause| invalid(cause.to_string()))?;
        writer
            .finish()
            .map(drop)
            .map_err(|cause| invalid(cause.to_string()))
    }

    /// Finishes the archive, padded so that another may follow.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        cpio::newc::trailer(&mut self.bytes)
            .map(drop)
            .map_err(|cause| {
                Error::new(Code::Internal, "end an archive").cause(cause.to_string())
            })?;
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_load_after_what_they_need() {
        let folder = tempfile::tempdir().unwrap();
        let dep = "kernel/virtio_net.ko: kernel/net_failover.ko kernel/failover.ko\n\
                   kernel/net_failover.ko: kernel/failover.ko\nkernel/failover.ko:\n";
        std::fs::write(folder.path().join("modules.dep"), dep).unwrap();
        let names: Vec<String> = loading_order(folder.path())
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["failover", "net_failover", "virtio_net"]);
    }

    #[test]
    fn an_archive_is_read_back_and_padded() {
        let mut archive = Archive::default();
        archive.directory("banger").unwrap();
        archive.file("banger/config.json", 0o600, b"{}").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 512, 0);
        let reader = cpio::NewcReader::new(bytes.as_slice()).unwrap();
        assert_eq!(reader.entry().name(), "banger");
        let reader = cpio::NewcReader::new(reader.finish().unwrap()).unwrap();
        assert_eq!(reader.entry().name(), "banger/config.json");
        assert_eq!(reader.entry().mode() & 0o777, 0o600);
    }
}
