//! `banger vm ssh`: this process becomes the system's ssh.

mod connection;
mod login_permit;
mod remote;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

use banger_api::{Code, Error, Phase, SshView, VmView};
use clap::Args;

use super::VmArgument;
use crate::commands::doctor;
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::{agreement, programs};
use login_permit::LoginPermit;
use remote::Remote;

/// The exit status of every failure except the command's own, as in ssh(1).
pub(crate) const NOT_OF_THE_COMMAND: u8 = 255;

/// Open a shell in a VM, or run one command in it.
///
/// The command gets its arguments exactly as typed, with spaces, quotes and wildcards, and its exit status becomes that of banger: 128 plus the signal's number if a signal ended it, 255 if the connection failed or was lost. For pipes, redirections or variables in the VM, run a shell: -- sh -c '…'.
///
/// When the connection is cut off, the command gets SIGHUP, as in a closed terminal; commands started with nohup, setsid or systemd-run keep running. A session ends within a minute after its VM has ended or stopped answering.
///
/// The VM's host key is generated with the VM and always checked. ~/.ssh/config is not read; -o passes other options to ssh. With --host, ssh runs here and banger on the other machine connects: ports that are forwarded are this machine's.
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
    one: VmArgument,

    /// Give the command a terminal, which editors and htop need, from a script too. A shell always has one.
    #[arg(long, short)]
    tty: bool,

    /// Log in as this user of the VM instead of root.
    #[arg(long, short = 'l', value_name = "USER")]
    login: Option<String>,

    /// Let the VM use the keys of your ssh-agent while you are connected.
    #[arg(long, short = 'A')]
    forward_agent: bool,

    /// Forward a port of this machine into the VM: [ADDRESS:]PORT:HOST:PORT, as in ssh(1).
    #[arg(long, short = 'L', value_name = "FORWARD")]
    local: Vec<OsString>,

    /// Forward a port of the VM to this machine: [ADDRESS:]PORT:HOST:PORT.
    #[arg(long, short = 'R', value_name = "FORWARD")]
    remote: Vec<OsString>,

    /// Run no command: only forward ports, until ^C.
    #[arg(long, short = 'N', conflicts_with_all = ["tty", "command"])]
    no_command: bool,

    /// One more option for ssh, as in ssh_config(5).
    #[arg(long = "option", short = 'o', value_name = "KEY=VALUE")]
    options: Vec<OsString>,

    /// The command and its arguments.
    #[arg(last = true)]
    command: Vec<OsString>,
}

impl Ssh {
    /// Replaces this process by ssh. Failures before that have ssh's exit status.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        self.become_ssh(session).map_err(|failure| match failure {
            Failure::Error(error) => {
                session.output.error(&error);
                Failure::Status(NOT_OF_THE_COMMAND)
            }
            Failure::ReaderGone | Failure::Status(_) => failure,
        })
    }

    fn become_ssh(&self, session: &Session) -> Outcome {
        let vm = session.daemon()?.show(&self.one.name)?;
        if agreement::is_simulated(session.daemon_view()?) {
            return Err(simulated(&vm).into());
        }
        let Some(view) = &vm.ssh else {
            return Err(not_running(&vm).into());
        };
        let route = Route::of(&vm, view, session)?;
        let line = match self.line() {
            None => None,
            Some(Remote::Line(line)) => Some(line),
            Some(Remote::File(bytes)) => {
                let turn = self.turn(&vm, session)?;
                Some(self.send(&route, &turn, &bytes)?)
            }
        };
        let turn = self.turn(&vm, session)?;
        let arguments = self.arguments(&route, &turn, line, io::stdin().is_terminal());
        Err(programs::become_ssh(&arguments).into())
    }

    fn turn(&self, vm: &VmView, session: &Session) -> Result<LoginPermit, Failure> {
        let socket = &session.places.location.socket;
        let folder = socket.with_file_name("logins");
        LoginPermit::take(&folder, &vm.id.to_string(), || {
            let vm = session.daemon()?.show(&self.one.name)?;
            vm.ssh
                .is_some()
                .then_some(())
                .ok_or_else(|| not_running(&vm).into())
        })
    }

    fn line(&self) -> Option<Remote> {
        (!self.command.is_empty()).then(|| Remote::new(&self.command))
    }

    /// Sends a long command to the guest over a separate connection, and returns the command line
    /// that runs it.
    fn send(&self, route: &Route, turn: &LoginPermit, bytes: &[u8]) -> Result<OsString, Failure> {
        let mut own = self.own_options();
        own.extend(turn.options());
        let mut arguments = vec!["-T".into()];
        arguments.extend(self.connection(route, &own));
        arguments.push(remote::take());
        let sent = programs::feed_ssh(&arguments, bytes)?;
        match sent.status {
            Some(0) => Ok(remote::run_file(&sent.stdout)),
            // ssh has printed the reason.
            Some(255) => Err(Failure::Status(NOT_OF_THE_COMMAND)),
            _ => Err(Error::new(
                Code::Guest,
                "the command is too long for one line, and the VM has no space to store it",
            )
            .into()),
        }
    }

    /// ssh's arguments, with the destination last.
    fn connection(&self, route: &Route, own: &[OsString]) -> Vec<OsString> {
        // ssh uses the first value of an option.
        let own = [&route.options, own].concat();
        let mut arguments = connection::arguments(&route.view, self.login.as_deref(), &own);
        let destination = arguments.pop();
        arguments.push("--".into());
        arguments.extend(destination);
        arguments
    }

    fn own_options(&self) -> Vec<OsString> {
        let option = |option: &OsString| ["-o".into(), option.clone()];
        self.options.iter().flat_map(option).collect()
    }

    fn arguments(
        &self,
        route: &Route,
        turn: &LoginPermit,
        line: Option<OsString>,
        stdin_is_terminal: bool,
    ) -> Vec<OsString> {
        let mut own = self.own_options();
        own.extend(turn.options());
        if self.forward_agent {
            own.push("-A".into());
        }
        for (option, forwards) in [("-L", &self.local), ("-R", &self.remote)] {
            for forward in forwards {
                own.extend([option.into(), forward.clone()]);
            }
        }
        if self.no_command {
            // Without its forwards such an ssh does nothing, so a failed forward ends it.
            own.extend(["-N", "-o", "ExitOnForwardFailure=yes"].map(OsString::from));
        }
        // As with ssh itself, a shell gets a terminal if there is one. A command does not, so that
        // its bytes arrive unchanged. Given twice, the option requests one even without a terminal
        // of ours.
        let wants_shell = line.is_none() && !self.no_command;
        own.push(if self.tty {
            "-tt".into()
        } else if wants_shell && stdin_is_terminal {
            "-t".into()
        } else {
            "-T".into()
        });
        let mut arguments = self.connection(route, &own);
        arguments.extend(line);
        arguments
    }
}

/// The route of ssh to a VM.
struct Route {
    view: SshView,
    /// The options before those of the user.
    options: Vec<OsString>,
}

impl Route {
    /// The route: direct to a VM of this machine, through banger on the VM's machine otherwise.
    fn of(vm: &VmView, view: &SshView, session: &Session) -> Result<Self, Error> {
        let Some(remote) = &session.places.remote else {
            return Ok(Self {
                view: view.clone(),
                options: Vec::new(),
            });
        };
        let login = remote.login(vm, view, &doctor::own_program(&session.places)?)?;
        let mut proxy = OsString::from("ProxyCommand=");
        proxy.push(login.proxy);
        Ok(Self {
            view: login.view,
            options: vec!["-o".into(), proxy],
        })
    }
}

/// ssh's arguments for a connection to the VM, the destination last.
pub(crate) fn connection(view: &SshView) -> Vec<OsString> {
    connection::arguments(view, None, &[])
}

pub(super) fn simulated(vm: &VmView) -> Error {
    Error::new(
        Code::Conflict,
        format!("`{}` is simulated: there is nothing to log in to", vm.name),
    )
    .hint("a simulated address may belong to a real machine; for a real VM use another state directory: banger --state DIR …")
}

pub(super) fn not_running(vm: &VmView) -> Error {
    let name = &vm.name;
    if vm.phase == Phase::Running && vm.rescue {
        return Error::new(
            Code::NotReady,
            format!("`{name}` is running in rescue, without SSH"),
        )
        .hint(format!("get a shell without SSH: banger vm shell {name}"))
        .hint(format!("read its console: banger vm logs {name}"))
        .hint(format!(
            "end the rescue: banger vm kill {name}, then: banger vm start {name}"
        ));
    }
    let error = Error::new(
        Code::NotReady,
        format!("`{name}` is not running: it is {}", vm.phase),
    );
    match vm.phase {
        Phase::Starting => error.hint(format!("watch it boot: banger vm logs -f {name}")),
        Phase::Stopped => error.hint(format!("banger vm start {name}")),
        Phase::Creating
        | Phase::Running
        | Phase::Suspending
        | Phase::Suspended
        | Phase::Resuming
        | Phase::Stopping
        | Phase::Deleting => error.hint(format!("see its state: banger vm show {name}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::description::tests::calm_otter;
    use super::*;

    fn ssh(words: &[&str]) -> Ssh {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            ssh: Ssh,
        }
        let words = ["ssh", "calm-otter"].iter().chain(words);
        <Line as clap::Parser>::try_parse_from(words).unwrap().ssh
    }

    fn arguments(ssh: &Ssh, stdin_is_terminal: bool) -> Vec<String> {
        let line = match ssh.line() {
            Some(Remote::Line(line)) => Some(line),
            Some(Remote::File(_)) => panic!("it is short"),
            None => None,
        };
        let route = Route {
            view: calm_otter().ssh.unwrap(),
            options: Vec::new(),
        };
        // No file can be created below a file.
        let turn = LoginPermit::take(Path::new("/proc/version"), "00ab12cd", || Ok(())).unwrap();
        ssh.arguments(&route, &turn, line, stdin_is_terminal)
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn ssh_is_given_the_pinned_key_and_one_quoted_command() {
        let ssh = ssh(&["-o", "ForwardAgent=yes", "--", "echo", "a b", ""]);
        insta::assert_debug_snapshot!(arguments(&ssh, true));
    }

    #[test]
    fn a_shell_has_a_terminal_where_there_is_one_and_a_command_where_it_is_asked_for() {
        for (words, stdin_is_terminal, flag) in [
            (&[][..], true, "-t"),
            (&[], false, "-T"),
            (&["--", "ls"], true, "-T"),
            (&["--", "ls"], false, "-T"),
            (&["-t"], false, "-tt"),
            (&["-t", "--", "htop"], true, "-tt"),
            (&["-t", "--", "htop"], false, "-tt"),
            (&["-N"], true, "-T"),
        ] {
            let arguments = arguments(&ssh(words), stdin_is_terminal);
            let flags: Vec<_> = arguments
                .iter()
                .filter(|it| ["-t", "-tt", "-T"].contains(&it.as_str()))
                .collect();
            assert_eq!(flags, [&flag], "{words:?} {stdin_is_terminal}");
        }
    }

    #[test]
    fn options_that_ssh_has_are_ssh_s() {
        let asked = [
            "-A",
            "-L",
            "8080:localhost:80",
            "-R",
            "9:[::1]:9",
            "-l",
            "dev",
            "-N",
        ];
        let words = arguments(&ssh(&asked), true);
        let line = words.join(" ");
        for part in ["-A", "-L 8080:localhost:80", "-R 9:[::1]:9", "-N"] {
            assert!(line.contains(part), "{line}");
        }
        assert_eq!(words.last().unwrap(), "dev@10.215.0.2");
    }

    #[test]
    fn ssh_to_a_stopped_vm_prints_the_command_that_starts_it() {
        let mut vm = calm_otter();
        vm.phase = Phase::Stopped;
        let error = not_running(&vm);
        assert_eq!(error.message, "`calm-otter` is not running: it is stopped");
        assert_eq!(error.hints, ["banger vm start calm-otter"]);
    }
}
