//! `banger verify`: a smoke test of this host, from creating a VM to deleting it.

mod name_query;
mod report;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use banger_api::{
    Code, CreateVm, DeleteVm, Error, Result, StartVm, StopVm, VmRef, VmSpecPatch, VmView,
};
use clap::Args;

use self::report::{Report, Verdict};
use super::vm;
use crate::failure::Outcome;
use crate::output::Output;
use crate::session::Session;
use crate::{agreement, programs};

/// Connects to the server of the guest's packages.
const REACH: &str = r#"url=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -om1 'https*://[^ /]*')
case $url in https:*) port=443 ;; *) port=80 ;; esac
host=${url#*//}
case $host in *:*) port=${host##*:} host=${host%:*} ;; esac
timeout 30 bash -c "exec 3<>/dev/tcp/$host/$port" && echo "$host:$port""#;

/// Test this host: create a VM, log in, stop, start and delete it, and check that nothing is left.
///
/// The VM has a name of its own and is deleted at the end, even if a step fails. The exit status is 0 if no step fails; one that has nothing to test does not fail.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger verify
  banger verify --nat --json")]
pub(crate) struct Verify {
    /// Give the VM NAT, and reach the server of its Debian packages from it.
    #[arg(long)]
    nat: bool,
}

impl Verify {
    /// Runs the test.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let mut report = Report::new(session.output);
        // The daemon's steps would appear between those of the test.
        let quiet = Output {
            quiet: true,
            ..session.output
        };
        let session = Session::new(session.places.clone(), quiet);
        let trial = Trial::new(self.nat, &session)?;
        let mut made = None;
        report.step("create", || {
            let vm = trial.create()?;
            let hypervisor = vm.hypervisor.clone().unwrap_or_default();
            let text = format!("{} by {hypervisor}", vm.name);
            made = Some(vm);
            Ok(Verdict::Good(text))
        })?;
        if let Some(vm) = &made {
            report.step("ssh", || trial.ssh(vm))?;
            report.step("name", || trial.name(vm))?;
            report.step("nat", || trial.nat(vm))?;
            report.step("keep", || trial.keep(vm))?;
        }
        report.last_step("delete", || trial.delete(made.as_ref()))?;
        let is_well = report.end()?;
        Ok(if is_well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// The VM of one run.
struct Trial<'a> {
    session: &'a Session,
    name: VmRef,
    nat: bool,
    is_simulated: bool,
}

impl<'a> Trial<'a> {
    fn new(nat: bool, session: &'a Session) -> Result<Self> {
        let name = format!("verify-{}", std::process::id());
        Ok(Self {
            is_simulated: agreement::is_simulated(session.daemon_view()?),
            name: name.parse().map_err(|cause| {
                Error::new(Code::Internal, format!("name the VM `{name}`"))
                    .cause(format!("{cause}"))
            })?,
            nat,
            session,
        })
    }

    fn create(&self) -> Result<VmView> {
        let request = CreateVm {
            name: Some(self.name.to_string()),
            spec: VmSpecPatch {
                nat: Some(self.nat),
                ..VmSpecPatch::default()
            },
            ..CreateVm::default()
        };
        self.session
            .work(|daemon, progress| daemon.create(&request, progress))
    }

    fn ssh(&self, vm: &VmView) -> Result<Verdict> {
        if self.is_simulated {
            return Ok(Verdict::simulated());
        }
        let kernel = run_in(vm, "uname -r")?;
        Ok(Verdict::Good(format!("Linux {kernel}")))
    }

    fn name(&self, vm: &VmView) -> Result<Verdict> {
        let Some(address) = vm.address.filter(|_| !self.is_simulated) else {
            let why = "the VM has no address of its own here: see banger doctor";
            return Ok(Verdict::Skipped(why.to_owned()));
        };
        let server = self.session.daemon_view()?.dns.as_deref();
        let server: Option<SocketAddr> = server.and_then(|it| it.parse().ok());
        let Some(server) = server else {
            return Ok(Verdict::Skipped("the daemon answers no names".to_owned()));
        };
        let found = name_query::ask(server, &vm.dns_name)?;
        if found == Some(address) {
            return Ok(Verdict::Good(format!("{} is {address}", vm.dns_name)));
        }
        Err(Error::new(
            Code::Host,
            format!("`{}` at {server} is not {address}", vm.dns_name),
        )
        .cause(found.map_or("there is no such name".to_owned(), |it| it.to_string())))
    }

    fn nat(&self, vm: &VmView) -> Result<Verdict> {
        if !self.nat {
            return Ok(Verdict::Skipped("try it with --nat".to_owned()));
        }
        if self.is_simulated {
            return Ok(Verdict::simulated());
        }
        let reached = run_in(vm, REACH)
            .map_err(|error| error.hint("see why guests have no network: banger doctor"))?;
        Ok(Verdict::Good(format!("reached {reached}")))
    }

    /// Checks that files on both disks survive a stop and a start.
    fn keep(&self, vm: &VmView) -> Result<Verdict> {
        let word = format!("{}-{}", self.name, vm.id);
        if !self.is_simulated {
            run_in(
                vm,
                &format!("echo {word} | tee /var/lib/verify >/root/verify"),
            )?;
        }
        let request = StopVm::default();
        let stopped = self
            .session
            .work(|daemon, progress| daemon.stop(&self.name, &request, progress))?;
        let request = StartVm::default();
        let started = self
            .session
            .work(|daemon, progress| daemon.start(&self.name, &request, progress))?;
        if self.is_simulated {
            return Ok(Verdict::simulated());
        }
        let read = run_in(&started.vm, "cat /var/lib/verify /root/verify")?;
        if read != format!("{word}\n{word}") {
            return Err(Error::new(
                Code::Guest,
                "a file written before the stop is missing after the start",
            )
            .cause(format!("the stop was by: {}", stopped.by)));
        }
        Ok(Verdict::Good(
            "both disks, after a stop and a start".to_owned(),
        ))
    }

    fn delete(&self, made: Option<&VmView>) -> Result<Verdict> {
        let daemon = self.session.daemon()?;
        let is_there = |daemon: &banger_api::client::Client| {
            let vms = daemon.list()?;
            Ok::<_, Error>(
                vms.iter()
                    .any(|vm| vm.name.as_str() == self.name.to_string()),
            )
        };
        if is_there(daemon)? {
            let request = DeleteVm {
                force: true,
                ..DeleteVm::default()
            };
            self.session
                .work(|daemon, progress| daemon.delete(&self.name, &request, progress))?;
        }
        let mut left = Vec::new();
        if is_there(daemon)? {
            left.push(format!("the VM `{}`", self.name));
        }
        if let Some(vm) = made {
            let state = &self.session.places.location.state;
            let folder = state.join("vms").join(vm.id.to_string());
            if folder.exists() {
                left.push(format!("the folder `{}`", folder.display()));
            }
            let network = Path::new("/sys/class/net");
            let links = network.read_dir().into_iter().flatten().flatten();
            let id = vm.id.to_string();
            let ours = links.filter(|link| link.file_name().to_string_lossy().contains(&id));
            left.extend(ours.map(|link| format!("the interface {:?}", link.file_name())));
        }
        if left.is_empty() {
            return Ok(Verdict::Good("nothing is left".to_owned()));
        }
        Err(Error::new(Code::Host, "something of the VM remains").cause(left.join(", ")))
    }
}

/// Runs a shell command in the guest, and returns its output.
fn run_in(vm: &VmView, line: &str) -> Result<String> {
    let trouble = || Error::new(Code::Guest, format!("run a command in `{}`", vm.name));
    let view = vm
        .ssh
        .as_ref()
        .ok_or_else(|| trouble().cause("there is no SSH"))?;
    let mut arguments = vec!["-T".into()];
    arguments.extend(vm::connection(view));
    arguments.push(line.into());
    let ended = programs::feed_ssh(&arguments, b"")?;
    if ended.status == Some(0) {
        return Ok(ended.stdout.trim().to_owned());
    }
    let status = ended
        .status
        .map_or("a signal ended it".to_owned(), |it| format!("status {it}"));
    Err(trouble().cause(status))
}
