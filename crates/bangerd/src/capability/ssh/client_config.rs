//! The file that makes a user's own ssh reach every VM, in the format of `ssh_config`(5). The
//! user's `~/.ssh/config` includes it.

use std::fmt::Write as _;

use banger_api::SshView;

use crate::vm::Vm;

/// The text of the file, with a block for each VM that has a view.
pub(super) fn text(vms: &[&Vm], view: impl Fn(&Vm) -> Option<SshView>) -> String {
    let mut vms = vms.to_vec();
    vms.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = String::from(
        "# Written by banger whenever a VM changes. Edits are lost.\n\
         # ~/.ssh/config includes this file after `banger ssh-config --install`.\n",
    );
    for vm in vms {
        if let Some(ssh) = view(vm) {
            let _ = writeln!(text, "\nHost {} {}", vm.dns_name(), vm.name);
            block(&mut text, &ssh);
        }
    }
    text
}

fn block(text: &mut String, ssh: &SshView) {
    let mut option = |keyword: &str, value: &str| {
        let _ = writeln!(text, "    {keyword} {value}");
    };
    option("HostName", &ssh.host);
    option("Port", &ssh.port.to_string());
    option("User", &ssh.user);
    for (keyword, value) in ssh.options() {
        option(keyword, &value);
    }
    // A user's jump host for all hosts cannot reach a VM of this host.
    option("ProxyCommand", "none");
    option("ServerAliveInterval", "15");
}
