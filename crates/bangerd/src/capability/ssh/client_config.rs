//! How an ssh of the user's own reaches every VM: a file in the format of `ssh_config`(5), which their
//! `~/.ssh/config` includes.

use std::fmt::Write as _;

use banger_api::SshView;

use crate::vm::Vm;

/// The file, by name of the VM; a VM without a view is left out.
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
    // A jump host for everything does not reach a VM of this host.
    option("ProxyCommand", "none");
    option("ServerAliveInterval", "15");
}
