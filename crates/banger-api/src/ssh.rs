//! The options of ssh(1) for a VM, shared by everything that connects to one.

use crate::SshView;

impl SshView {
    /// The options of `ssh_config`(5) that make a connection safe, as keywords and their arguments.
    /// ssh keeps the first value of an option, so these come before all others, and no later one
    /// can turn off the check of the host key.
    #[must_use]
    pub fn options(&self) -> [(&'static str, String); 9] {
        [
            ("IdentityFile", path(&self.key)),
            ("IdentitiesOnly", "yes".to_owned()),
            ("UserKnownHostsFile", path(&self.known_hosts)),
            ("GlobalKnownHostsFile", "/dev/null".to_owned()),
            ("HostKeyAlias", self.host_key_alias.clone()),
            ("StrictHostKeyChecking", "yes".to_owned()),
            // Only the daemon writes the pinned keys.
            ("UpdateHostKeys", "no".to_owned()),
            ("CheckHostIP", "no".to_owned()),
            // Only the key can log in; a prompt for a password would hide that it was rejected.
            ("PreferredAuthentications", "publickey".to_owned()),
        ]
    }
}

/// Quotes a path for ssh's configuration, in which a space ends a value and `%` begins a token.
fn path(path: &str) -> String {
    if path
        .chars()
        .all(|c| c.is_alphanumeric() || "/-_.".contains(c))
    {
        return path.to_owned();
    }
    let escaped = path
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('%', "%%");
    format!("\"{escaped}\"")
}
