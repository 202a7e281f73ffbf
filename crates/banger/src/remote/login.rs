//! Logins to VMs of another machine.
//!
//! A VM accepts the key of its own machine, which never leaves that machine. So the client has a
//! key of its own. banger there can log in, and adds the public half to the guest's `/run`, where
//! it stays until the guest stops.
//!
//! The VM's host key comes from the daemon's view of it, and is pinned in a file here under two
//! names: the one that `vm ssh` uses, which stays when the VM is renamed, and `NAME.HOST` for the
//! user's own ssh.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result, SshView, VmView};

use super::contexts::replace;
use super::files::make_private;
use super::{Prompts, Remote, master};
use crate::programs;
use crate::quote;

/// The login to a VM of another machine.
#[derive(Debug)]
pub(crate) struct Login {
    /// The view, with this machine's files in place of the other's.
    pub(crate) view: SshView,
    /// The command that provides the connection (`ProxyCommand`).
    pub(crate) proxy: OsString,
}

impl Remote {
    /// The login to a running VM there. `program` is banger's command line for the same host.
    ///
    /// # Errors
    /// If the key cannot be generated, or the host keys cannot be pinned here.
    pub(crate) fn login(&self, vm: &VmView, view: &SshView, program: &[OsString]) -> Result<Login> {
        let words = ["vm", "proxy"].map(OsString::from);
        let name = [vm.name.to_string().into(), "22".into()];
        let words = program.iter().chain(&words).chain(&name);
        let view = SshView {
            key: self.key()?.display().to_string(),
            known_hosts: self.pin(std::slice::from_ref(vm))?.display().to_string(),
            ..view.clone()
        };
        Ok(Login {
            view,
            proxy: proxy_command(words),
        })
    }

    /// The directory of this host's files, which outlive a connection.
    pub(crate) fn kept(&self) -> Result<PathBuf> {
        make_private(&self.kept)?;
        let folder = self.kept.join(self.files.stem());
        make_private(&folder)?;
        Ok(folder)
    }

    /// The client's private key for VMs of all other machines, generated on first use.
    ///
    /// # Errors
    /// If it cannot be generated.
    pub(crate) fn key(&self) -> Result<PathBuf> {
        make_private(&self.kept)?;
        let key = self.kept.join("id_ed25519");
        if key.exists() {
            return Ok(key);
        }
        let trouble = |cause: std::io::Error| {
            Error::new(Code::Host, format!("make the key `{}`", key.display()))
                .cause(cause.to_string())
        };
        let lock = File::create(self.kept.join("lock")).map_err(trouble)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|cause| trouble(cause.into()))?;
        if key.exists() {
            return Ok(key);
        }
        let new = self.kept.join("id_ed25519.new");
        for left in [&new, &public(&new)] {
            let _ = fs::remove_file(left);
        }
        programs::make_ssh_key(&new, "banger")?;
        // The private key comes last: if it exists, the pair is complete.
        fs::rename(public(&new), public(&key)).map_err(trouble)?;
        fs::rename(&new, &key).map_err(trouble)?;
        Ok(key)
    }

    /// Pins the host keys of these VMs beside those that are pinned, and returns the known_hosts
    /// file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn pin(&self, vms: &[VmView]) -> Result<PathBuf> {
        let file = self.kept()?.join("known_hosts");
        let trouble = |cause: std::io::Error| {
            Error::new(Code::Host, format!("pin host keys in `{}`", file.display()))
                .cause(cause.to_string())
        };
        let _lock = self.files.lock()?;
        let old = fs::read_to_string(&file).unwrap_or_default();
        let new = pinned(&old, vms, self.name());
        if new != old {
            replace(&file, &new).map_err(trouble)?;
        }
        Ok(file)
    }

    /// Makes banger there authorise this client's key in a VM, once for each of its runs.
    ///
    /// # Errors
    /// If banger there cannot log in.
    pub(crate) fn authorize(&self, vm: &VmView) -> Result<()> {
        let key = fs::read(public(&self.key()?)).unwrap_or_default();
        let run = format!("{:?} {}", vm.started, String::from_utf8_lossy(&key));
        let mark = self.files.authorized(&vm.id.to_string(), &run);
        if mark.exists() {
            return Ok(());
        }
        let words = ["vm", "authorize", vm.name.as_str()].map(OsString::from);
        let mut arguments = vec!["-T".into()];
        arguments.extend(master::options(&self.files, Prompts::Allowed));
        arguments.extend(self.destination.arguments());
        arguments.push(self.command(&words));
        let ended = programs::feed_ssh(&arguments, &key)?;
        if ended.status != Some(0) {
            let (vm, host) = (&vm.name, self.name());
            return Err(Error::new(
                Code::Guest,
                format!("`{host}` did not let the key of this machine into `{vm}`"),
            )
            .hint(format!(
                "log in from there: {} banger vm ssh {vm}",
                self.ssh_command()
            )));
        }
        // Without the mark, the key is authorised again.
        let _ = File::create(mark);
        Ok(())
    }

    /// The configuration with which the user's own ssh reaches `NAME.HOST`.
    ///
    /// # Errors
    /// If the key cannot be generated, or the directory of host keys cannot be created.
    pub(crate) fn ssh_config(&self, program: &[OsString]) -> Result<String> {
        let host = self.name();
        let words = ["vm", "proxy"].map(OsString::from);
        let words: Vec<OsString> = program.iter().chain(&words).cloned().collect();
        // ssh expands the token; a name has no characters that are special in a shell.
        let proxy = proxy_command(&words).to_string_lossy().into_owned() + " %n 22";
        let path = |path: &Path| format!("\"{}\"", path.display().to_string().replace('%', "%%"));
        let known_hosts = path(&self.kept()?.join("known_hosts"));
        let options = [
            ("User", "root".to_owned()),
            ("ProxyCommand", proxy),
            ("IdentityFile", path(&self.key()?)),
            ("IdentitiesOnly", "yes".to_owned()),
            ("UserKnownHostsFile", known_hosts),
            ("GlobalKnownHostsFile", "/dev/null".to_owned()),
            ("StrictHostKeyChecking", "yes".to_owned()),
            ("UpdateHostKeys", "no".to_owned()),
            ("PreferredAuthentications", "publickey".to_owned()),
            ("ServerAliveInterval", "15".to_owned()),
        ];
        let lines = options
            .iter()
            .map(|(keyword, value)| format!("    {keyword} {value}\n"));
        Ok(format!(
            "# Written by `banger --host {host} ssh-config`: every VM of `{host}` as NAME.{host}.\nHost *.{host}\n{}",
            lines.collect::<String>()
        ))
    }

    /// The file that `ssh-config --install` includes.
    ///
    /// # Errors
    /// If its directory cannot be created.
    pub(crate) fn ssh_config_file(&self) -> Result<PathBuf> {
        Ok(self.kept()?.join("config"))
    }
}

/// The public half of a key.
fn public(key: &Path) -> PathBuf {
    let mut path = key.as_os_str().to_owned();
    path.push(".pub");
    path.into()
}

/// A command line for ssh, which expands tokens and executes it by a shell.
fn proxy_command<'a>(words: impl IntoIterator<Item = &'a OsString>) -> OsString {
    let line = quote::command_line(words);
    line.to_string_lossy().replace('%', "%%").into()
}

/// A known_hosts file with the keys of these VMs in place of older ones under the same names.
fn pinned(old: &str, vms: &[VmView], host: &str) -> String {
    let mut lines: Vec<String> = old.lines().map(str::to_owned).collect();
    for vm in vms {
        let Some(view) = &vm.ssh else { continue };
        let words: Vec<&str> = view.host_key.split_ascii_whitespace().collect();
        let legal = |word: &str| {
            let mut bytes = word.bytes();
            bytes.all(|it| it.is_ascii_alphanumeric() || b"-+/=@.".contains(&it))
        };
        let [kind, key] = words[..] else { continue };
        if !legal(kind) || !legal(key) || !legal(&view.host_key_alias) {
            continue;
        }
        let name = format!("{}.{host}", vm.name);
        let names = [view.host_key_alias.as_str(), &name];
        lines.retain(|line| {
            let known = line.split(' ').next().unwrap_or_default();
            !known.split(',').any(|it| names.contains(&it))
        });
        lines.push(format!("{},{name} {kind} {key}", view.host_key_alias));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::vm::calm_otter;

    #[test]
    fn a_key_is_pinned_under_the_alias_and_the_name_and_replaces_older_ones() {
        let mut vm = calm_otter();
        let first = pinned("", &[vm.clone()], "lab");
        assert_eq!(
            first,
            "banger-00ab12cd,calm-otter.lab ssh-ed25519 AAAAC3Nza\n"
        );
        assert_eq!(pinned(&first, &[vm.clone()], "lab"), first);
        vm.name = "web".parse().unwrap();
        let renamed = pinned(&first, &[vm.clone()], "lab");
        assert_eq!(renamed, "banger-00ab12cd,web.lab ssh-ed25519 AAAAC3Nza\n");
        // Another VM that has the name now.
        let mut other = vm.clone();
        other.ssh.as_mut().unwrap().host_key_alias = "banger-11111111".to_owned();
        let both = pinned(&renamed, &[other], "lab");
        assert_eq!(both, "banger-11111111,web.lab ssh-ed25519 AAAAC3Nza\n");
    }

    #[test]
    fn what_is_no_key_is_not_written() {
        for key in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA\n* ssh-rsa BBBB",
            "a b c",
        ] {
            let mut vm = calm_otter();
            vm.ssh.as_mut().unwrap().host_key = key.to_owned();
            assert_eq!(pinned("x y z\n", &[vm], "lab"), "x y z\n", "{key}");
        }
    }

    #[test]
    fn a_proxy_command_has_no_tokens_of_its_own() {
        let words = ["/opt/50%/it's".into(), "vm".into()];
        assert_eq!(proxy_command(&words), r"'/opt/50%%/it'\''s' 'vm'");
    }
}
