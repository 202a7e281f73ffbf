//! Records on disk: `vms/<id>/vm.json`, written by one function.

use std::collections::BTreeSet;
use std::path::Path;

use banger_api::{Code, Error, Phase, VmId};
use banger_host::{FileOp, Host, Kind, Op};
use serde::{Deserialize, Serialize};

use super::Vm;
use super::claim::{self, Claim};
use super::migrate::migrate;
use super::shape;
use crate::error::{During, Result};
use crate::layout::{DELETING, Layout, RECORD};

/// The schema of the records that this program writes, and the newest that it reads. A release that
/// changes the meaning of a record raises it; a new field alone does not, because older programs
/// reject it by name and so cannot lose it.
pub const SCHEMA: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Record<V> {
    schema: u32,
    vm: V,
}

/// The content of the folder of VMs.
#[derive(Debug, Default)]
pub struct Contents {
    /// The VMs.
    pub vms: Vec<Vm>,
    /// The claims of unusable records.
    pub unreadable: Vec<Claim>,
    /// Empty folders, from a crash before the first record or after its removal.
    pub empty: Vec<VmId>,
    /// Descriptions of everything else.
    pub unexplained: Vec<String>,
}

/// Reads and writes the records of one state directory.
#[derive(Debug, Clone)]
pub struct Store {
    layout: Layout,
}

impl Store {
    /// The records of this state directory.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }

    /// Writes a VM's record durably, and creates its folder if necessary.
    ///
    /// # Errors
    /// The record is not on disk; the old one is intact.
    pub fn save(&self, host: &dyn Host, vm: &Vm) -> banger_host::Result<()> {
        let layout = self.layout.vm(vm.id);
        let what = || format!("save the record of `{}`", vm.name);
        let mut contents =
            serde_json::to_vec_pretty(&Record { schema: SCHEMA, vm }).map_err(|cause| {
                banger_host::Error::new(Kind::Other, cause.to_string()).within(what())
            })?;
        contents.push(b'\n');
        let path = layout.folder().to_owned();
        let there = host.stat(&path).map_err(|error| error.within(what()))?;
        if there.is_none() {
            host.change(&Op::File(FileOp::MakeDirectory {
                path,
                mode: 0o711,
                owner: None,
            }))
            .map_err(|error| error.within(what()))?;
        }
        let op = Op::File(FileOp::WriteFile {
            path: layout.record(),
            contents,
            mode: 0o600,
            owner: None,
        });
        host.change(&op)
            .map_err(|error| error.within(what()))
            .map(drop)
    }

    /// Marks a VM durably as being deleted: a rename, which needs no space.
    ///
    /// # Errors
    /// The VM is not marked; [`Kind::Missing`] if it has no record.
    pub fn mark_deleting(&self, host: &dyn Host, id: VmId) -> banger_host::Result<()> {
        let layout = self.layout.vm(id);
        host.change(&Op::File(FileOp::RenameFile {
            from: layout.record(),
            to: layout.deleting(),
        }))
        .map(drop)
    }

    /// Removes a VM's folder with its record.
    ///
    /// # Errors
    /// Something of it is left.
    pub fn remove(&self, host: &dyn Host, id: VmId) -> Result<()> {
        let layout = self.layout.vm(id);
        let what = || format!("remove the record `{}`", layout.record().display());
        for path in [layout.record(), layout.deleting()] {
            host.change(&Op::File(FileOp::RemoveFile { path }))
                .during(what())?;
        }
        host.change(&Op::File(FileOp::RemoveDirectory {
            path: layout.folder().to_owned(),
        }))
        .during(what())
        .map(drop)
    }

    /// Rejects a state directory with records of a newer banger. Changes nothing.
    ///
    /// # Errors
    /// `conflict`, with every such record; or the folder of VMs cannot be read.
    pub fn refuse_newer(&self, host: &dyn Host) -> Result<()> {
        let mut newer = Vec::new();
        for name in host.list(&self.layout.vms()).during("list the VMs")? {
            let folder = self.layout.vms().join(&name);
            // Loading reports a record that cannot be read.
            let Ok(Some(Text { bytes, deleting })) = text(host, &folder) else {
                continue;
            };
            let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let schema = record["schema"].as_u64().unwrap_or_default();
            if name.parse::<VmId>().is_ok() && schema > SCHEMA.into() {
                let path = folder.join(if deleting { DELETING } else { RECORD });
                newer.push((folder, format!("`{}` has schema {schema}", path.display())));
            }
        }
        let mut newer = newer.into_iter();
        let Some((folder, first)) = newer.next() else {
            return Ok(());
        };
        let mut error = Error::new(
            Code::Conflict,
            format!("the record {first}, and this banger reads schemas up to {SCHEMA}"),
        )
        .hint("install the banger that wrote it, or a newer one; running VMs keep running")
        .hint(format!(
            "or abandon that VM by moving its folder away: mv '{}' DIR",
            folder.display()
        ));
        error.also = newer.map(|(_, words)| words).collect();
        Err(error)
    }

    /// Loads the folder of VMs.
    ///
    /// # Errors
    /// The folder of VMs cannot be read.
    pub fn load(&self, host: &dyn Host) -> Result<Contents> {
        let mut contents = Contents::default();
        for name in host.list(&self.layout.vms()).during("list the VMs")? {
            let Ok(id) = name.parse::<VmId>() else {
                let path = self.layout.vms().join(name);
                contents
                    .unexplained
                    .push(format!("`{}` is not a VM", path.display()));
                continue;
            };
            match self.read(host, id) {
                Ok(Some(vm)) => contents.vms.push(vm),
                Ok(None) if self.is_ours_and_empty(host, id)? => contents.empty.push(id),
                Ok(None) => contents.unexplained.push(format!(
                    "`{}` has no record; a crash left it, or it was created by hand",
                    self.layout.vm(id).folder().display()
                )),
                Err(error) => {
                    contents.unexplained.push(error.to_string());
                    let text = text(host, self.layout.vm(id).folder());
                    let text = text.ok().flatten().unwrap_or_default().bytes;
                    contents.unreadable.push(Claim::read(id, &text));
                }
            }
        }
        Ok(contents)
    }

    /// The digests of all images that the folder of VMs refers to; `None` if it contains something
    /// unknown, which may refer to any image.
    ///
    /// # Errors
    /// The folder of VMs or a record cannot be read.
    pub fn images_in_use(&self, host: &dyn Host) -> Result<Option<BTreeSet<String>>> {
        let mut digests = BTreeSet::new();
        for name in host.list(&self.layout.vms()).during("list the VMs")? {
            let folder = self.layout.vms().join(&name);
            // A copy of a VM's folder under another name counts, too.
            let text = text(host, &folder).during("read a record")?;
            let is_explained = match (name.parse::<VmId>(), &text) {
                (Ok(id), Some(_)) => self.read(host, id).is_ok(),
                (Ok(id), None) => self.is_ours_and_empty(host, id)?,
                (Err(_), _) => true,
            };
            if !is_explained {
                tracing::warn!(
                    folder = %folder.display(),
                    "no image is removed while this cannot be explained"
                );
                return Ok(None);
            }
            let text = text.unwrap_or_default().bytes;
            digests.extend(claim::digests(&String::from_utf8_lossy(&text)));
        }
        Ok(Some(digests))
    }

    /// Whether a folder without a record was left by a crash just before the first write of one, or
    /// just after its removal: it is empty, or has a partial record.
    fn is_ours_and_empty(&self, host: &dyn Host, id: VmId) -> Result<bool> {
        let folder = self.layout.vm(id).folder().to_owned();
        let names = host.list(&folder).during("list a VM's folder")?;
        Ok(names.iter().all(|name| name.starts_with(".vm.json.")))
    }

    fn read(&self, host: &dyn Host, id: VmId) -> Result<Option<Vm>> {
        let layout = self.layout.vm(id);
        let what = || format!("read the record `{}`", layout.record().display());
        let Some(Text { bytes, deleting }) = text(host, layout.folder()).during(what())? else {
            return Ok(None);
        };
        let invalid = |cause: String| Error::new(Code::Internal, cause).within(what());
        let mut record: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|cause| invalid(cause.to_string()))?;
        if let Some(schema) = record["schema"].as_u64() {
            migrate(schema, &mut record);
        }
        let mut unknown = Vec::new();
        let Record { mut vm, .. }: Record<Vm> =
            serde_ignored::deserialize(record, |field| unknown.push(field.to_string()))
                .map_err(|cause| invalid(cause.to_string()))?;
        if !unknown.is_empty() {
            return Err(invalid(format!(
                "this banger does not know its `{}`: a newer banger wrote it",
                unknown.join("`, `")
            )));
        }
        if vm.shape.number > shape::NEWEST {
            return Err(invalid(format!(
                "its machine has shape {}, and this version supports shapes up to {}: a newer version of banger created it",
                vm.shape.number,
                shape::NEWEST
            )));
        }
        if vm.id != id {
            return Err(invalid(format!("it belongs to the VM {}", vm.id)));
        }
        if deleting {
            vm.phase = Phase::Deleting;
        }
        Ok(Some(vm))
    }
}

/// A record on disk.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    /// Whether its VM is being deleted.
    deleting: bool,
}

/// The record in a VM's folder, if there is one.
fn text(host: &dyn Host, folder: &Path) -> banger_host::Result<Option<Text>> {
    for (name, deleting) in [(RECORD, false), (DELETING, true)] {
        if let Some(bytes) = host.read(&folder.join(name))? {
            return Ok(Some(Text { bytes, deleting }));
        }
    }
    Ok(None)
}
