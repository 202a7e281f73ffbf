//! `banger vm ssh`: this process becomes the system's ssh.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};

use banger_api::{Code, Error, Phase, SshView, VmView};
use clap::Args;

use super::{One, path};
use crate::failure::Outcome;
use crate::session::Session;
use crate::{agreement, programs, quote};

/// Get a shell in a VM, or run one command in it.
///
/// The command gets exactly the arguments that you give, with their spaces, quotes and wildcards, and its exit status becomes banger's own (255 is ssh's word for a connection that failed). For pipes, redirections or variables in the VM, run a shell: -- sh -c '…'.
///
/// The VM's host key was made with the VM and is always checked. Your ~/.ssh/config is not read; give ssh's options with -o.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm ssh calm-otter
  banger vm ssh calm-otter -- uname -a
  banger vm ssh calm-otter -- sh -c 'cd /srv && ls | wc -l'
  banger vm ssh calm-otter -t -- htop
  tar c src | banger vm ssh calm-otter -- tar x
  banger vm ssh calm-otter -o ForwardAgent=yes -- git clone git@example.org:me/project")]
pub(crate) struct Ssh {
    #[command(flatten)]
    one: One,

    /// Give the command a terminal, as editors and htop need one. A shell has one anyway.
    #[arg(long, short)]
    tty: bool,

    /// One more option for ssh, as ssh_config(5) has it.
    #[arg(long = "option", short = 'o', value_name = "KEY=VALUE")]
    options: Vec<OsString>,

    /// The command and its arguments.
    #[arg(last = true)]
    command: Vec<OsString>,
}

impl Ssh {
    /// Becomes ssh.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let vm: VmView = session.get(&path(&self.one.name))?;
        if agreement::is_simulated(session.daemon_view()?) {
            return Err(simulated(&vm).into());
        }
        let Some(view) = &vm.ssh else {
            return Err(not_running(&vm).into());
        };
        let arguments = self.arguments(view, io::stdin().is_terminal());
        Err(programs::become_program(OsStr::new("ssh"), &arguments).into())
    }

    fn arguments(&self, view: &SshView, stdin_is_terminal: bool) -> Vec<OsString> {
        let (destination, connection) = split(view);
        let mut arguments = connection;
        // Ours come first, and ssh keeps the first value of each: none of these turns off the
        // check of the host key.
        for option in &self.options {
            arguments.extend(["-o".into(), option.clone()]);
        }
        // As ssh itself has it: a shell gets a terminal where there is one, a command does not,
        // so that its bytes arrive as they are.
        let wants_tty = self.tty || (self.command.is_empty() && stdin_is_terminal);
        arguments.push(if wants_tty { "-t" } else { "-T" }.into());
        arguments.extend(["--".into(), destination]);
        if !self.command.is_empty() {
            arguments.push(quote::command_line(&self.command));
        }
        arguments
    }
}

/// ssh's arguments for a connection to the VM, the destination last.
pub(crate) fn connection(view: &SshView) -> Vec<OsString> {
    let (destination, mut arguments) = split(view);
    arguments.push(destination);
    arguments
}

fn split(view: &SshView) -> (OsString, Vec<OsString>) {
    let options = [
        format!("IdentityFile={}", quoted(&view.key)),
        "IdentitiesOnly=yes".into(),
        format!("UserKnownHostsFile={}", quoted(&view.known_hosts)),
        "GlobalKnownHostsFile=/dev/null".into(),
        format!("HostKeyAlias={}", view.host_key_alias),
        "StrictHostKeyChecking=yes".into(),
        // The pinned keys are the daemon's to write.
        "UpdateHostKeys=no".into(),
        "CheckHostIP=no".into(),
        // The key is the way in; a prompt for a password would only hide that it is not taken.
        "PreferredAuthentications=publickey".into(),
        "ConnectTimeout=20".into(),
    ];
    // No configuration file, not even the user's own: a `Host *` with a jump host, another user,
    // a RemoteCommand or a shared connection would break what is promised here, that argv and
    // status pass exactly and that the host key is checked. `-o` brings single options back.
    let mut arguments: Vec<OsString> = vec!["-F".into(), "none".into()];
    for option in options {
        arguments.extend(["-o".into(), option.into()]);
    }
    arguments.extend(["-p".into(), view.port.to_string().into()]);
    (format!("{}@{}", view.user, view.host).into(), arguments)
}

/// A path as ssh's configuration takes it: spaces split a value, and `%` begins a token.
fn quoted(path: &str) -> String {
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

fn simulated(vm: &VmView) -> Error {
    Error::new(
        Code::Conflict,
        format!("`{}` is simulated: there is nothing to log in to", vm.name),
    )
    .hint("its address may be somebody else's; for a real VM use another state directory: banger --state DIR …")
}

fn not_running(vm: &VmView) -> Error {
    let name = &vm.name;
    if vm.phase == Phase::Running && vm.rescue {
        return Error::new(
            Code::NotReady,
            format!("`{name}` runs in rescue, where there is no SSH"),
        )
        .hint(format!("read its console: banger vm logs {name}"))
        .hint(format!(
            "end the rescue: banger vm kill {name}, then: banger vm start {name}"
        ));
    }
    let error = Error::new(
        Code::NotReady,
        format!("`{name}` does not run, it is {}", vm.phase),
    );
    match vm.phase {
        Phase::Starting => error.hint(format!("watch it boot: banger vm logs -f {name}")),
        Phase::Stopped => error.hint(format!("banger vm start {name}")),
        Phase::Creating | Phase::Running | Phase::Stopping | Phase::Deleting => {
            error.hint(format!("see how it is: banger vm show {name}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::told::tests::calm_otter;
    use super::*;

    fn ssh(tty: bool, command: &[&str]) -> Ssh {
        Ssh {
            one: One {
                name: "calm-otter".parse().unwrap(),
            },
            tty,
            options: Vec::new(),
            command: command.iter().map(OsString::from).collect(),
        }
    }

    fn view() -> SshView {
        calm_otter().ssh.unwrap()
    }

    fn words(arguments: &[OsString]) -> Vec<&str> {
        arguments
            .iter()
            .map(|word| word.to_str().unwrap())
            .collect()
    }

    #[test]
    fn ssh_is_given_the_pinned_key_and_one_quoted_command() {
        let mut ssh = ssh(false, &["echo", "a b", ""]);
        ssh.options = vec!["ForwardAgent=yes".into()];
        insta::assert_debug_snapshot!(words(&ssh.arguments(&view(), true)));
    }

    #[test]
    fn a_shell_has_a_terminal_where_there_is_one_and_a_command_where_it_is_asked_for() {
        for (tty, command, stdin_is_terminal, flag) in [
            (false, &[][..], true, "-t"),
            (false, &[], false, "-T"),
            (false, &["ls"], true, "-T"),
            (false, &["ls"], false, "-T"),
            (true, &["htop"], true, "-t"),
        ] {
            let arguments = ssh(tty, command).arguments(&view(), stdin_is_terminal);
            let arguments = words(&arguments);
            let flags: Vec<_> = arguments
                .iter()
                .filter(|it| it.eq_ignore_ascii_case("-t"))
                .collect();
            assert_eq!(flags, [&flag], "{tty} {command:?} {stdin_is_terminal}");
        }
    }

    /// What a real ssh makes of our options, where there is one.
    #[expect(clippy::disallowed_methods, reason = "a test asks the real ssh")]
    fn as_ssh_reads(arguments: &[OsString]) -> Option<String> {
        let output = Command::new("ssh")
            .arg("-G")
            .args(arguments)
            .output()
            .ok()?;
        assert!(output.status.success(), "{output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn no_option_of_the_user_turns_off_the_check_of_the_host_key() {
        let mut ssh = ssh(false, &["true"]);
        ssh.options = vec![
            "StrictHostKeyChecking=no".into(),
            "UserKnownHostsFile=/dev/null".into(),
            "HostKeyAlias=other".into(),
        ];
        let Some(read) = as_ssh_reads(&ssh.arguments(&view(), false)) else {
            return;
        };
        assert!(read.contains("\nstricthostkeychecking true\n"), "{read}");
        assert!(read.contains("\nhostkeyalias banger-00ab12cd\n"), "{read}");
        assert!(read.contains("banger/ssh/known_hosts\n"), "{read}");
    }

    #[test]
    fn a_path_with_spaces_and_percents_is_one_path() {
        let mut view = view();
        view.known_hosts = "/srv/my vms/50%h/known \"hosts\"".into();
        view.key = "/srv/my vms/50%d/key".into();
        let Some(read) = as_ssh_reads(&ssh(false, &[]).arguments(&view, false)) else {
            return;
        };
        // `-G` shows this one with its tokens replaced, and the other before.
        assert!(
            read.contains("\nuserknownhostsfile /srv/my vms/50%h/known \"hosts\"\n"),
            "{read}"
        );
        assert!(
            read.contains("\nidentityfile /srv/my vms/50%%d/key\n"),
            "{read}"
        );
    }

    #[test]
    fn a_vm_that_does_not_run_is_told_with_the_command_that_starts_it() {
        let mut vm = calm_otter();
        vm.phase = Phase::Stopped;
        let error = not_running(&vm);
        assert_eq!(error.message, "`calm-otter` does not run, it is stopped");
        assert_eq!(error.hints, ["banger vm start calm-otter"]);
    }
}
