//! The manifest of an archive: the description of its VM, before its files.
//!
//! An archive is self-contained: it holds the VM's disks and the kernel that it boots with, and no
//! key. A manifest is untrusted until it has been checked here.

use banger_api::{Code, Error, ImageName, VmName, VmSpec};
use banger_host::PackEntry;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::image::catalog::Kernel;
use crate::vm::Vm;

/// The root disk, as one file whatever its driver.
pub(crate) const ROOT: &str = "root";
/// The work disk.
pub(crate) const WORK: &str = "work";
/// The kernel.
pub(crate) const KERNEL: &str = "kernel";
/// The first archive of the kernel's initramfs.
pub(crate) const MODULES: &str = "modules";

/// The names of the files, each of which an archive has once.
const NAMES: [&str; 4] = [ROOT, WORK, KERNEL, MODULES];

/// The version of the manifests that this program writes and reads.
const SCHEMA: u32 = 1;

/// The maximum size of a disk in bytes, that of its setting.
const LARGEST_DISK: u64 = 64 << 40;

/// The maximum size of a kernel, or of its modules, in bytes.
const LARGEST_KERNEL: u64 = 1 << 30;

/// The maximum number of entries of any list.
const MOST: usize = 1024;

/// A file of a VM that goes into an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its name in the archive.
    pub name: &'static str,
    /// The file.
    pub file: PackEntry,
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Its name.
    pub name: String,
    /// Its size in bytes, holes included.
    pub size: u64,
}

/// The description of an archive's VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The version of the manifest.
    pub schema: u32,
    /// The VM's name.
    pub name: VmName,
    /// The names that its disk may contain, its own last.
    pub names: Vec<VmName>,
    /// The machine-ids that its disk may contain.
    pub machine_ids: Vec<String>,
    /// Its settings.
    pub spec: VmSpec,
    /// The name of the image that it was created from.
    pub image: String,
    /// The kernel that it boots with.
    pub kernel: Kernel,
    /// The files, in order.
    pub files: Vec<Entry>,
}

impl Manifest {
    /// The manifest of a VM with these files.
    #[must_use]
    pub(crate) fn of(vm: &Vm, kernel: Kernel, contents: &[Content]) -> Self {
        let names = vm.former_names.iter().chain([&vm.name]);
        let machine_ids = vm.former_machine_ids.iter().chain([&vm.machine_id]);
        let entry = |content: &Content| Entry {
            name: content.name.to_owned(),
            size: content.file.size,
        };
        Self {
            schema: SCHEMA,
            name: vm.name.clone(),
            names: names.cloned().collect(),
            machine_ids: machine_ids.cloned().collect(),
            // Volumes do not belong to the VM, and are not exported.
            spec: VmSpec {
                volumes: std::collections::BTreeMap::new(),
                ..vm.spec.clone()
            },
            image: vm.images.name.clone(),
            kernel,
            files: contents.iter().map(entry).collect(),
        }
    }

    /// Parses a manifest, and rejects values that no VM can have.
    ///
    /// # Errors
    /// `invalid`, with the reason.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let invalid = |what: String| Error::new(Code::Invalid, what);
        let json: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|cause| invalid(cause.to_string()))?;
        if json["schema"] != SCHEMA {
            let shown: String = json["schema"].to_string().chars().take(20).collect();
            return Err(invalid(format!(
                "it has schema {shown}, and this banger reads {SCHEMA}"
            ))
            .hint("import it with the banger that wrote it, or a newer one"));
        }
        let mut unknown = Vec::new();
        let manifest: Self =
            serde_ignored::deserialize(json, |field| unknown.push(field.to_string()))
                .map_err(|cause| invalid(cause.to_string()))?;
        if let Some(field) = unknown.first() {
            let what = format!("this banger does not know its {field:?}: a newer one wrote it");
            return Err(invalid(what));
        }
        manifest.check().map_err(invalid)?;
        Ok(manifest)
    }

    fn check(&self) -> std::result::Result<(), String> {
        let mut names: Vec<&str> = self.files.iter().map(|it| &*it.name).collect();
        names.sort_unstable();
        let mut expected = NAMES;
        expected.sort_unstable();
        if names != expected {
            return Err(format!("its files are not {}, each once", NAMES.join(", ")));
        }
        for Entry { name, size } in &self.files {
            let most = match name.as_str() {
                ROOT | WORK => LARGEST_DISK,
                _ => LARGEST_KERNEL,
            };
            if *size > most {
                return Err(format!("its file `{name}` claims to have {size} bytes"));
            }
        }
        if !self.spec.volumes.is_empty() {
            return Err("it claims volumes, which no archive has".to_owned());
        }
        let lists = [
            self.names.len(),
            self.machine_ids.len(),
            self.kernel.modules.len(),
        ];
        if lists.iter().any(|count| *count > MOST) {
            return Err("one of its lists is longer than any".to_owned());
        }
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_machine_id = |id: &String| id.len() == 32 && id.bytes().all(is_digit);
        if !self.machine_ids.iter().all(is_machine_id) {
            return Err("one of its machine-ids is none".to_owned());
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
        let is_module = |path: &String| {
            path.starts_with('/') && !path.contains("..") && path.chars().all(is_plain)
        };
        let version = &self.kernel.version;
        if !self.kernel.modules.iter().all(is_module)
            || version.len() > 100
            || !version.chars().all(|c| is_plain(c) || c == '~')
        {
            return Err("what it says of its kernel is not plain".to_owned());
        }
        self.image
            .parse::<ImageName>()
            .map(drop)
            .map_err(|cause| cause.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::assemble::tests::made;

    fn manifest() -> Value {
        let (_, vm, _) = made();
        let content = |name| Content {
            name,
            file: PackEntry {
                path: "/x".into(),
                store: None,
                size: 1 << 20,
            },
        };
        let kernel = Kernel {
            version: "6.12.118+deb13-cloud-amd64".to_owned(),
            modules: vec!["/modules/virtio_blk.ko".to_owned()],
        };
        let manifest = Manifest::of(&vm, kernel, &NAMES.map(content));
        serde_json::to_value(manifest).unwrap()
    }

    fn read(json: &Value) -> Result<Manifest> {
        Manifest::read(json.to_string().as_bytes())
    }

    #[test]
    fn what_was_written_is_read() {
        let json = manifest();
        let read = read(&json).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), json);
        assert_eq!(json.get("host_key"), None);
    }

    #[test]
    fn what_no_banger_writes_is_refused() {
        let changes: [(&str, Value); 15] = [
            ("/schema", json!(2)),
            ("/schema", json!("1")),
            ("/name", json!("../../etc")),
            ("/names", json!(["A.b"])),
            ("/names", json!(vec!["web"; MOST + 1])),
            ("/machine_ids", json!(["xyz"])),
            ("/image", json!("../root")),
            ("/kernel/modules", json!(["/modules/../../init"])),
            ("/kernel/modules", json!(["modules"])),
            ("/kernel/version", json!("6\n12")),
            ("/files", json!([])),
            ("/files/0/name", json!("work")),
            ("/files/0/name", json!("/etc/passwd")),
            ("/files/0/size", json!(u64::MAX)),
            ("/spec/telepathy", json!(true)),
        ];
        for (place, value) in changes {
            let mut json = manifest();
            match json.pointer_mut(place) {
                Some(found) => *found = value.clone(),
                None => json["spec"]["telepathy"] = value.clone(),
            }
            let error = read(&json).expect_err(place);
            assert_eq!(error.code, Code::Invalid, "{place}: {error}");
        }
        assert!(Manifest::read(b"").is_err());
        assert!(Manifest::read(b"[]").is_err());
    }
}
