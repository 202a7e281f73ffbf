//! `banger vm forward`: ports and sockets of this machine that reach services of a VM.

mod carry;
mod listener;
mod rule;

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use banger_api::{Code, Endpoint, EndpointHost, Error, Phase, Result, VmRef};
use clap::Args;
use serde::Serialize;

use super::VmArgument;
use crate::failure::Outcome;
use crate::interrupt;
use crate::session::Session;
use carry::Route;
pub(crate) use carry::join_stdio;
use listener::Listener;
pub(crate) use rule::Rule;

/// Forward ports and sockets of this machine to a VM, without SSH.
///
/// A connection to the port here reaches the port in the VM. It needs neither SSH nor a network in the VM, and works with user networking. This command listens until it is ended, also while the VM restarts; only this machine reaches the ports, unless an address is given. With --host the ports are those of this machine, too.
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
  banger --host lab vm forward calm-otter 8080:80")]
pub(crate) struct Forward {
    #[command(flatten)]
    one: VmArgument,

    /// What is forwarded: [ADDRESS:]PORT[:PORT], or the paths of sockets.
    #[arg(value_name = "[ADDRESS:]PORT[:PORT]", required = true)]
    rules: Vec<Rule>,
}

/// What listens, for programs.
#[derive(Debug, Serialize)]
struct Listening<'a> {
    vm: &'a str,
    listen: Endpoint,
    target: &'a Endpoint,
}

impl Forward {
    /// Listens until this process ends.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let vm = session.daemon()?.show(&self.one.name)?;
        let listeners = listen(&self.rules)?;
        let views: Vec<Listening<'_>> = listeners
            .iter()
            .zip(&self.rules)
            .map(|(listener, rule)| Listening {
                vm: vm.name.as_str(),
                listen: listener.endpoint(&rule.listen),
                target: &rule.target,
            })
            .collect();
        if session.output.json {
            session.output.value(&views)?;
        } else {
            for it in &views {
                let there = of_vm(it.vm, it.target);
                session.output.text(&format!("{} → {there}", it.listen))?;
            }
        }
        if vm.phase != Phase::Running {
            session.output.note(&format!(
                "{} is {}; connections are refused until it runs: banger vm start {}",
                vm.name, vm.phase, vm.name
            ));
        }
        warn_of_others(&self.rules, session);
        // The id stays if somebody renames the VM.
        serve(listeners, &self.rules, &vm.id.into(), session)?;
        Ok(ExitCode::SUCCESS)
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
        let route = Arc::new(Route {
            vm: vm.clone(),
            target: rule.target.clone(),
            socket: session.places.location.socket.clone(),
            remote: session.places.remote.clone(),
            output: session.output,
            last_failure: Mutex::default(),
        });
        let thread = std::thread::Builder::new()
            .name("listener".to_owned())
            .spawn(move || route.serve(&listener));
        threads.push(
            thread.map_err(|cause| {
                Error::new(Code::Host, "start a thread").cause(cause.to_string())
            })?,
        );
    }
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
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

fn warn_of_others(rules: &[Rule], session: &Session) {
    for rule in rules {
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

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
