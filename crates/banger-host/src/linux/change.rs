//! The changes to this host.

use std::path::{Component, Path};

use super::forwarding::Setting;
use super::{Linux, archive, children, disk, files, forwarding, node, snapshot, spawn, tap};
use crate::{
    Change, Error, FileOp, GuestTap, Host, Instance, Kind, Look as _, Op, Process, Result, RootOp,
    Signal, Spawn, Watch,
};

/// Rejects paths that are relative or have `..`, which could name something else elsewhere.
fn absolute(path: &Path) -> Result<&Path> {
    if path.is_absolute() && !path.components().any(|it| it == Component::ParentDir) {
        return Ok(path);
    }
    Err(Error::new(
        Kind::Other,
        format!("`{}` is not an absolute path", path.display()),
    ))
}

impl Host for Linux {
    fn change_watched(&self, op: &Op, watch: Watch<'_>) -> Result<Change> {
        match op {
            Op::File(op) => change_files(op, watch),
            Op::Root(instance, op) => self.change_as_root(*instance, op),
        }
    }

    fn spawn(&self, spawn: &Spawn) -> Result<Process> {
        absolute(&spawn.directory)?;
        absolute(&spawn.log)?;
        spawn.input.as_deref().map(absolute).transpose()?;
        let process = spawn::spawn(spawn, &self.boot_id)?;
        self.children.add(&process);
        Ok(process)
    }

    fn signal(&self, process: &Process, signal: Signal) -> Result<Change> {
        children::signal(process, signal, &self.boot_id)
    }
}

fn change_files(op: &FileOp, watch: Watch<'_>) -> Result<Change> {
    match op {
        FileOp::MakeDirectory { path, mode, owner } => {
            files::make_directory(absolute(path)?, *mode, *owner)
        }
        FileOp::RemoveDirectory { path } => files::remove_directory(absolute(path)?),
        FileOp::WriteFile {
            path,
            contents,
            mode,
            owner,
        } => files::write_file(absolute(path)?, contents, *mode, *owner),
        FileOp::WriteScratch {
            path,
            contents,
            mode,
            owner,
        } => files::write_scratch(absolute(path)?, contents, *mode, *owner),
        FileOp::RemoveFile { path } => files::remove_file(absolute(path)?),
        FileOp::GiveFile { path, owner } => files::give_file(absolute(path)?, *owner),
        FileOp::RenameFile { from, to } => files::rename_file(absolute(from)?, absolute(to)?),
        FileOp::LinkFile { from, to } => files::link_file(absolute(from)?, absolute(to)?),
        FileOp::MakeLink { path, target } => files::make_link(absolute(path)?, target),
        FileOp::MakeNode {
            path,
            device,
            owner,
        } => node::make_another(absolute(path)?, absolute(device)?, *owner),
        FileOp::CloneFile { from, to, owner } => {
            disk::clone(absolute(from)?, absolute(to)?, *owner)
        }
        FileOp::CopyFile { from, to, owner } => {
            disk::copy(absolute(from)?, absolute(to)?, *owner, watch)
        }
        FileOp::MakeFilesystem {
            path,
            size_mib,
            label,
            owner,
        } => disk::make_filesystem(absolute(path)?, *size_mib, label, *owner),
        FileOp::GrowFile { path, size_mib } => disk::grow(absolute(path)?, *size_mib),
        FileOp::PunchHole { path, offset } => disk::punch_hole(absolute(path)?, *offset),
        FileOp::PackFiles { to, head, files } => archive::pack(absolute(to)?, head, files, watch),
        FileOp::UnpackFiles { from, to } => archive::unpack(absolute(from)?, to, watch),
        FileOp::RestoreStore { path } => snapshot::restore(absolute(path)?),
    }
}

impl Linux {
    fn change_as_root(&self, instance: Instance, op: &RootOp) -> Result<Change> {
        let (table, prefix) = (&instance.table(), &instance.tap_prefix());
        match op {
            RootOp::MakeTap(tap) => self.make_tap(instance, tap),
            RootOp::RemoveTap { machine } => tap::remove(&instance.tap(*machine)),
            RootOp::AllowGuest { machine, address } => {
                let tap = instance.tap(*machine);
                self.firewall.allow_guest(table, prefix, &tap, *address)
            }
            RootOp::ForbidGuest { machine, address } => {
                let (tap, interfaces) = (instance.tap(*machine), self.interfaces("")?);
                self.firewall
                    .forbid_guest(table, &tap, *address, &interfaces)
            }
            RootOp::AllowNat { address } => {
                let change = self.firewall.allow_nat(table, prefix, *address)?;
                tap::remember_nat(*address, true)?;
                Ok(change)
            }
            RootOp::ForbidNat { address } => {
                tap::remember_nat(*address, false)?;
                self.firewall.forbid_nat(table, *address)
            }
            RootOp::ForwardGuest { machine, on } => {
                forwarding::set(&Setting::Forwarding(&instance.tap(*machine)), *on)
            }
            RootOp::HoldForwarding { machine } => self.hold_forwarding(instance, *machine),
            RootOp::ReleaseForwarding { machine } => self.release_forwarding(instance, *machine),
            RootOp::AdoptForwarding { off_before } => self.adopt_forwarding(instance, off_before),
            RootOp::MakeSnapshot {
                machine,
                size_mib,
                files,
            } => {
                absolute(&files.base)?;
                absolute(&files.cow)?;
                snapshot::make_of_paths(&instance.name(*machine), files, *size_mib)
            }
            RootOp::RemoveSnapshot { machine } => snapshot::remove(&instance.name(*machine)),
        }
    }

    /// The filter exists before the TAP does.
    fn make_tap(&self, instance: Instance, tap: &GuestTap) -> Result<Change> {
        self.interfaces.forget();
        let (name, address) = (instance.tap(tap.machine), tap.guest_address);
        let filtered =
            self.firewall
                .allow_guest(&instance.table(), &instance.tap_prefix(), &name, address)?;
        let made = tap::make(&name, tap, &self.backstop)?;
        self.interfaces.forget();
        Ok(filtered | made)
    }
}
