//! Access by SSH: the VM's own host key, pinned, and this installation's key, authorised.
//!
//! The user's own files stay untouched: the guest gets a drop-in for sshd, and files under
//! `/run/banger`.

mod client_config;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use banger_api::{Phase, SshView, VmView};
use banger_host::{FileOp, Host, Op};

use super::Capability;
use crate::error::{During, Result};
use crate::layout::Layout;
use crate::plan::Plan;
use crate::vm::Vm;
use crate::vm::names::host_key_alias;

/// The drop-in for sshd (`sshd_config`(5)): banger's keys beside the user's own.
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
    /// The last written configuration for ssh.
    written: Mutex<Option<String>>,
}

impl Ssh {
    /// Authorises this public key. `key` is the path of the private key; none if the VMs are
    /// simulated.
    #[must_use]
    pub fn new(layout: Layout, public_key: String, key: Option<PathBuf>) -> Self {
        Self {
            layout,
            public_key,
            key,
            written: Mutex::default(),
        }
    }

    /// How to reach a VM, running or not: it keeps its address, or its last port. None if the VMs
    /// are simulated.
    fn view_of(&self, vm: &Vm) -> Option<SshView> {
        let key = self.key.as_ref()?;
        let (host, port) = match (vm.reachable_address(), vm.ssh_port) {
            (Some(address), _) => (address.to_string(), 22),
            (None, Some(port)) => ("127.0.0.1".to_owned(), port),
            (None, None) => return None,
        };
        Some(SshView {
            host,
            port,
            user: "root".to_owned(),
            key: key.display().to_string(),
            known_hosts: self.layout.known_hosts(vm.id).display().to_string(),
            host_key_alias: host_key_alias(vm.id),
            host_key: vm.host_key.public.clone(),
        })
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
        if vm.phase == Phase::Running && !vm.is_in_rescue() {
            view.ssh = self.view_of(vm);
        }
    }

    fn advertise(&self, vms: &[&Vm], host: &dyn Host) -> Result<()> {
        if self.key.is_none() {
            return Ok(());
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let text = client_config::text(vms, |vm| self.view_of(vm));
        if written.as_ref() == Some(&text) {
            return Ok(());
        }
        *written = None;
        host.change(&Op::File(FileOp::WriteFile {
            path: self.layout.ssh_config(),
            contents: text.clone().into_bytes(),
            mode: 0o600,
            owner: None,
        }))
        .during("write the configuration for ssh")?;
        *written = Some(text);
        Ok(())
    }

    fn create(&self, vm: &Vm, host: &dyn Host) -> Result<()> {
        let folder = self.layout.known_hosts_folder();
        host.change(&Op::File(FileOp::MakeDirectory {
            path: folder,
            mode: 0o700,
            owner: None,
        }))
        .during("create the folder of pinned host keys")?;
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
            .during("remove the pinned host key")
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use banger_host::{Look as _, Sim};

    use super::*;
    use crate::assemble::tests::made;

    fn ssh() -> Ssh {
        let key = Some("/home/ada lovelace/50%/id_ed25519".into());
        Ssh::new(Layout::new("/state"), "ssh-ed25519 AAAA".to_owned(), key)
    }

    fn text(sim: &Sim) -> String {
        let bytes = sim.read("/state/ssh/config".as_ref()).unwrap();
        String::from_utf8(bytes.unwrap_or_default()).unwrap()
    }

    #[test]
    fn each_vm_has_a_block_under_both_of_its_names() {
        let (sim, mut vm, _) = made();
        vm.name = "web".parse().unwrap();
        let mut other = vm.clone();
        other.name = "calm-otter".parse().unwrap();
        other.network = banger_api::NetworkKind::User;
        other.ssh_port = Some(40022);
        let ssh = ssh();
        ssh.advertise(&[&vm, &other], &sim).unwrap();
        let written = text(&sim);
        let blocks: Vec<&str> = written.split("\n\n").collect();
        assert_eq!(blocks.len(), 3, "{written}");
        assert!(
            blocks[1].starts_with(
                "Host calm-otter.vm calm-otter\n    HostName 127.0.0.1\n    Port 40022\n"
            ),
            "{written}"
        );
        let address = vm.address;
        let web = format!(
            "Host web.vm web\n    HostName {address}\n    Port 22\n    User root\n    IdentityFile \"/home/ada lovelace/50%%/id_ed25519\"\n"
        );
        assert!(blocks[2].starts_with(&web), "{written}");
        assert!(
            blocks[2].contains(&format!(
                "\n    HostKeyAlias {}\n    StrictHostKeyChecking yes\n",
                host_key_alias(vm.id)
            )),
            "{written}"
        );
    }

    #[test]
    fn the_file_follows_vms_and_what_was_not_written_is_written_later() {
        let (sim, mut vm, _) = made();
        let ssh = ssh();
        ssh.advertise(&[&vm], &sim).unwrap();
        let changes = sim.changes();
        ssh.advertise(&[&vm], &sim).unwrap();
        assert_eq!(sim.changes(), changes, "nothing has changed");
        vm.name = "renamed".parse().unwrap();
        sim.fail_at(0);
        ssh.advertise(&[&vm], &sim).unwrap_err();
        assert!(!text(&sim).contains("renamed"));
        ssh.advertise(&[&vm], &sim).unwrap();
        assert!(text(&sim).contains("\nHost renamed.vm renamed\n"));
        ssh.advertise(&[], &sim).unwrap();
        assert!(!text(&sim).contains("\nHost "));
    }

    #[test]
    fn where_there_is_nothing_to_log_in_to_nothing_is_written() {
        let (sim, vm, _) = made();
        let ssh = Ssh::new(Layout::new("/state"), String::new(), None);
        ssh.advertise(&[&vm], &sim).unwrap();
        assert_eq!(text(&sim), "");
    }
}
