//! Getting in: the VM's own host key, pinned, and this installation's key, authorised.
//!
//! Nothing here touches what a user edits: the guest gets a drop-in of ours for sshd, and files
//! under `/run/banger`.

use std::path::PathBuf;

use banger_api::{Phase, SshView, VmView};
use banger_host::{FileOp, Host, Op};

use super::Capability;
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::plan::Plan;
use crate::vm::Vm;
use crate::vm::names::host_key_alias;

/// What sshd is told (`sshd_config`(5)): our keys beside the user's own.
const DROP_IN: &str =
    "# Written by banger at each start. Your own settings go into another file here.
HostKey /run/banger/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys /run/banger/authorized_keys
PermitRootLogin prohibit-password
UseDNS no
# Only this host and other software of its owner come here. Fifty logins at once are a test suite.
MaxStartups 200
";

/// The SSH capability.
#[derive(Debug)]
pub struct Ssh {
    layout: Layout,
    public_key: String,
    key: Option<PathBuf>,
}

impl Ssh {
    /// Lets this public key in. `key` is the path of the private one, unless there is nothing to log
    /// in to.
    #[must_use]
    pub fn new(layout: Layout, public_key: String, key: Option<PathBuf>) -> Self {
        Self {
            layout,
            public_key,
            key,
        }
    }
}

impl Capability for Ssh {
    fn name(&self) -> &'static str {
        "SSH"
    }

    fn plan(&self, vm: &Vm, plan: &mut Plan) -> Result<()> {
        let guest = &mut plan.guest;
        let writer = "SSH";
        let public = format!("{} {}\n", vm.host_key.public, host_key_alias(vm.id));
        guest.file(
            writer,
            "/run/banger/ssh_host_ed25519_key",
            0o600,
            &vm.host_key.private.0,
        )?;
        guest.file(
            writer,
            "/run/banger/ssh_host_ed25519_key.pub",
            0o644,
            &public,
        )?;
        let keys = format!("{}\n", self.public_key.trim_end());
        guest.file(writer, "/run/banger/authorized_keys", 0o644, &keys)?;
        guest.file(
            writer,
            "/etc/ssh/sshd_config.d/10-banger.conf",
            0o644,
            DROP_IN,
        )
    }

    fn view(&self, vm: &Vm, view: &mut VmView) {
        let answers = vm.phase == Phase::Running && !vm.is_in_rescue();
        let Some(key) = self.key.as_ref().filter(|_| answers) else {
            return;
        };
        let (host, port) = match (vm.reachable_address(), vm.ssh_port) {
            (Some(address), _) => (address.to_string(), 22),
            (None, Some(port)) => ("127.0.0.1".to_owned(), port),
            (None, None) => return,
        };
        view.ssh = Some(SshView {
            host,
            port,
            user: "root".to_owned(),
            key: key.display().to_string(),
            known_hosts: self.layout.known_hosts(vm.id).display().to_string(),
            host_key_alias: host_key_alias(vm.id),
        });
    }

    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let folder = self.layout.known_hosts_folder();
        host.change(&Op::File(FileOp::MakeDirectory {
            path: folder,
            mode: 0o700,
            owner: None,
        }))
        .during("make the folder of pinned host keys")?;
        let contents = format!("{} {}\n", host_key_alias(vm.id), vm.host_key.public).into_bytes();
        let path = self.layout.known_hosts(vm.id);
        host.change(&Op::File(FileOp::WriteFile {
            path,
            contents,
            mode: 0o600,
            owner: None,
        }))
        .during("pin the host key")
        .map(drop)
    }

    fn delete(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let path = self.layout.known_hosts(vm.id);
        host.change(&Op::File(FileOp::RemoveFile { path }))
            .during("forget the host key")
            .map(drop)
    }
}
