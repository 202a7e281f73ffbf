//! `banger vm forward`: ports and sockets of this machine that reach services of a VM.

mod carry;
mod held;
mod reverse;
mod rule;

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use banger_api::listener::Listener;
use banger_api::{Code, Endpoint, EndpointHost, Error, Phase, Result, VmRef};
use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::VmArgument;
use crate::completion;
use crate::failure::Outcome;
use crate::interrupt;
use crate::output::Output;
use crate::session::Session;
use carry::Route;
pub(crate) use carry::join_stdio;
pub(crate) use held::arrow;
use reverse::GuestPort;
use rule::ReverseRule;
pub(crate) use rule::Rule;

/// Forward ports and sockets of this machine to a VM, without SSH.
///
/// A connection to the port here reaches the port in the VM. It needs neither SSH nor a network in the VM, and works with user networking. This command listens until it is ended, also while the VM restarts; only this machine reaches the ports, unless an address is given. With --host the ports are those of this machine, too.
///
/// With --reverse, a port in the VM reaches one service of this machine, or of its network, and nothing else.
///
/// With --detach the daemon listens until the VM stops; with --keep, whenever the VM runs. The command returns at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Forms:
  8080                     port 8080 here reaches port 8080 of the VM
  8080:80                  port 8080 here reaches port 80 of the VM
  0:80                     a free port here, which is printed
  0.0.0.0:8080:80          also for other machines of the network
  8080:/run/docker.sock    port 8080 here reaches a Unix socket of the VM
  ~/d.sock:/run/d.sock     a Unix socket here, for this user only

Examples:
  banger vm forward calm-otter 8080:80
  banger vm forward calm-otter 5432 6379
  banger vm forward calm-otter ~/docker.sock:/run/docker.sock
  banger vm forward calm-otter -R 5432
  banger vm forward calm-otter -R /run/agent.sock:$SSH_AUTH_SOCK
  banger vm forward calm-otter 8080:80 --keep
  banger vm forward calm-otter --list
  banger vm forward calm-otter --remove 8080
  banger --host lab vm forward calm-otter 8080:80")]
pub(crate) struct Forward {
    #[command(flatten)]
    one: VmArgument,

    /// What is forwarded: [ADDRESS:]PORT[:PORT], or the paths of sockets.
    #[arg(
        value_name = "[ADDRESS:]PORT[:PORT]",
        required_unless_present_any = ["reverse", "list", "remove"]
    )]
    rules: Vec<Rule>,

    /// Have the VM listen, on a port of its loopback or on a socket, and reach this port, HOST:PORT or socket of this machine.
    #[arg(long, short = 'R', value_name = "[VM_PORT:][HOST:]PORT")]
    reverse: Vec<ReverseRule>,

    /// Have the daemon listen, until the VM stops.
    #[arg(long, short)]
    detach: bool,

    /// Have the daemon listen whenever the VM runs, also after restarts of the VM and of the daemon.
    #[arg(long)]
    keep: bool,

    /// List the forwards that the daemon holds.
    #[arg(long, conflicts_with_all = ["rules", "reverse", "detach", "keep", "remove"])]
    list: bool,

    /// Remove a forward that the daemon holds, by its port or its whole form; `all` removes all of them.
    #[arg(
        long,
        value_name = "[ADDRESS:]PORT[:PORT]|all",
        conflicts_with_all = ["rules", "reverse", "detach", "keep"],
        add = ArgValueCandidates::new(completion::forwards)
    )]
    remove: Vec<String>,
}

/// What listens, for programs.
#[derive(Debug, Serialize)]
struct ListenerView<'a> {
    vm: &'a str,
    listen: Endpoint,
    target: &'a Endpoint,
    reverse: bool,
}

impl ListenerView<'_> {
    fn print(all: &[Self], output: Output) -> std::io::Result<()> {
        if output.json {
            output.value(&all)?;
        } else {
            for it in all {
                output.text(&it.text())?;
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        match self.reverse {
            true => format!("{} → {}", of_vm(self.vm, &self.listen), self.target),
            false => format!("{} → {}", self.listen, of_vm(self.vm, self.target)),
        }
    }
}

impl Forward {
    /// Does what its options say.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        if self.list {
            self.list(session)
        } else if !self.remove.is_empty() {
            self.remove(session)
        } else if self.detach || self.keep {
            self.hold(session)
        } else {
            self.listen(session)
        }
    }

    /// Listens until this process ends.
    fn listen(&self, session: &Session) -> Outcome {
        let vm = session.daemon()?.show(&self.one.name)?;
        let listeners = listen(&self.rules)?;
        // The id stays if somebody renames the VM.
        let id = vm.id.into();
        let back = self.reverse_rules()?;
        let ports = guest_ports(&back, &id, session)?;
        let view = |listen, target, reverse| ListenerView {
            vm: vm.name.as_str(),
            listen,
            target,
            reverse,
        };
        let here = listeners.iter().zip(&self.rules);
        let here = here.map(|(it, rule)| view(it.endpoint(&rule.listen), &rule.target, false));
        let there = ports
            .iter()
            .zip(&back)
            .filter(|(it, _)| !it.is_open_later());
        let there = there.map(|(it, rule)| view(it.at.clone(), &rule.target, true));
        let views: Vec<ListenerView<'_>> = here.chain(there).collect();
        ListenerView::print(&views, session.output)?;
        if vm.phase != Phase::Running {
            session.output.note(&format!(
                "{} is {}; connections are refused until it runs: banger vm start {}",
                vm.name, vm.phase, vm.name
            ));
        }
        self.warn_of_others(session);
        let name = vm.name.to_string();
        let ports = ports.into_iter().map(|port| {
            let name = name.clone();
            thread(move || port.serve(&name))
        });
        let ports = ports.collect::<Result<Vec<_>>>()?;
        serve(listeners, &self.rules, &id, session)?;
        for port in ports {
            let _ = port.join();
        }
        Ok(ExitCode::SUCCESS)
    }

    fn reverse_rules(&self) -> Result<Vec<Rule>> {
        let rules = self.reverse.iter().map(ReverseRule::resolve);
        rules
            .map(|it| it.map_err(|wrong| Error::new(Code::Invalid, wrong)))
            .collect()
    }

    /// The forwards in the daemon's words.
    fn forwards(&self) -> Result<Vec<banger_api::Forward>> {
        let forward = |rule: &Rule, reverse| banger_api::Forward {
            listen: rule.listen.clone(),
            target: rule.target.clone(),
            reverse,
        };
        let back = self.reverse_rules()?;
        let there = self.rules.iter().map(|rule| forward(rule, false));
        let back = back.iter().map(|rule| forward(rule, true));
        Ok(there.chain(back).collect())
    }

    fn warn_of_others(&self, session: &Session) {
        for rule in &self.rules {
            if let Endpoint::Tcp(EndpointHost::Address(address), _) = rule.listen
                && !is_loopback(address)
            {
                session.output.note(&format!(
                    "{} is open to other machines; omit the address to listen for this one only",
                    rule.listen
                ));
            }
        }
    }
}

/// Forwards one port until this process ends. `tell` is told where it listens.
///
/// # Errors
/// It cannot be listened on, or `tell` fails.
pub(crate) fn forward_to(
    vm: &VmRef,
    rule: Rule,
    session: &Session,
    tell: impl FnOnce(&Endpoint) -> Result<()>,
) -> Result<()> {
    let listener = Listener::open(&rule.listen)?;
    tell(&listener.endpoint(&rule.listen))?;
    serve(vec![listener], &[rule], vm, session)
}

/// Has the guest listen for all reverse forwards, or for none.
fn guest_ports(rules: &[Rule], vm: &VmRef, session: &Session) -> Result<Vec<GuestPort>> {
    rules
        .iter()
        .map(|rule| GuestPort::open(Arc::new(route(vm, rule, session)), rule))
        .collect()
}

/// Listens on all of them, or on none.
///
/// # Errors
/// One of them cannot be listened on.
fn listen(rules: &[Rule]) -> Result<Vec<Listener>> {
    rules.iter().map(|it| Listener::open(&it.listen)).collect()
}

/// Takes connections until this process ends. Sockets are removed at ^C.
fn serve(listeners: Vec<Listener>, rules: &[Rule], vm: &VmRef, session: &Session) -> Result<()> {
    let paths: Vec<String> = rules
        .iter()
        .filter_map(|rule| match &rule.listen {
            Endpoint::Unix(path) => Some(path.clone()),
            Endpoint::Tcp(..) => None,
        })
        .collect();
    interrupt::then(move || {
        for path in paths {
            let _ = std::fs::remove_file(path);
        }
    });
    let mut threads = Vec::new();
    for (listener, rule) in listeners.into_iter().zip(rules) {
        let route = Arc::new(route(vm, rule, session));
        threads.push(thread(move || route.serve(&listener))?);
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn thread(work: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    let builder = std::thread::Builder::new().name("listener".to_owned());
    builder
        .spawn(work)
        .map_err(|cause| Error::new(Code::Host, "start a thread").cause(cause.to_string()))
}

fn route(vm: &VmRef, rule: &Rule, session: &Session) -> Route {
    Route {
        vm: vm.clone(),
        target: rule.target.clone(),
        socket: session.places.location.socket.clone(),
        remote: session.places.remote.clone(),
        output: session.output,
        last_failure: Mutex::default(),
    }
}

/// An endpoint in a VM, for people.
fn of_vm(vm: &str, endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(EndpointHost::Localhost, port) => format!("{vm}:{port}"),
        Endpoint::Tcp(EndpointHost::Address(_), _) | Endpoint::Unix(_) => {
            format!("{endpoint} in {vm}")
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
