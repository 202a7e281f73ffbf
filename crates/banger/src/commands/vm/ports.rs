//! `banger vm ports`.

use std::process::ExitCode;

use banger_api::PortView;
use clap::Args;

use super::VmArgument;
use crate::columns::columns;
use crate::failure::Outcome;
use crate::output::{clean, say};
use crate::session::Session;

/// Show what listens in a VM, with the process.
///
/// The list is the guest's own. It needs no network.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm ports calm-otter
  banger vm ports calm-otter --json")]
pub(crate) struct Ports {
    #[command(flatten)]
    one: VmArgument,
}

impl Ports {
    /// Prints them.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let ports = session.daemon()?.ports(&self.one.name)?;
        if ports.is_empty() && !session.output.json {
            session.output.note("nothing listens in the VM");
            return Ok(ExitCode::SUCCESS);
        }
        session.output.result(&ports, || table(&ports))?;
        if session.output.terminal
            && !session.output.json
            && !session.output.quiet
            && let Some(port) = port_to_forward(&ports)
        {
            let name = &self.one.name;
            say(format_args!(
                "reach one from this machine: banger vm forward {name} {port}"
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The first TCP port except that of SSH, for which `vm ssh` exists.
fn port_to_forward(ports: &[PortView]) -> Option<u16> {
    let mut services = ports.iter().filter(|it| it.protocol == "tcp");
    services.find(|it| it.port != 22).map(|it| it.port)
}

fn table(ports: &[PortView]) -> String {
    let head = ["PORT", "PROTOCOL", "ADDRESS", "PID", "PROCESS"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    let has_forwards = ports.iter().any(|it| !it.forwarded_from.is_empty());
    rows[0].extend(has_forwards.then(|| "FORWARDED FROM".to_owned()));
    for port in ports {
        let from: Vec<String> = port
            .forwarded_from
            .iter()
            .map(ToString::to_string)
            .collect();
        rows.push(vec![
            port.port.to_string(),
            clean(&port.protocol).to_string(),
            port.address.to_string(),
            port.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            clean(port.process.as_deref().unwrap_or_default()).to_string(),
            from.join(", "),
        ]);
    }
    columns(&rows, |_, _, _| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_a_known_process_has_empty_cells() {
        let port = |port, process: Option<&str>| PortView {
            protocol: "tcp".to_owned(),
            address: [0, 0, 0, 0].into(),
            port,
            pid: process.map(|_| 7),
            process: process.map(str::to_owned),
            forwarded_from: Vec::new(),
        };
        let both = [port(22, Some("sshd")), port(8080, None)];
        assert_eq!(port_to_forward(&both), Some(8080));
        assert_eq!(port_to_forward(&both[..1]), None);
        assert_eq!(
            table(&both),
            "PORT  PROTOCOL  ADDRESS  PID  PROCESS\n\
             22    tcp       0.0.0.0  7    sshd\n\
             8080  tcp       0.0.0.0\n"
        );
        let mut forwarded = both;
        forwarded[1].forwarded_from = vec!["127.0.0.1:9000".parse().unwrap()];
        assert_eq!(
            table(&forwarded),
            "PORT  PROTOCOL  ADDRESS  PID  PROCESS  FORWARDED FROM\n\
             22    tcp       0.0.0.0  7    sshd\n\
             8080  tcp       0.0.0.0                127.0.0.1:9000\n"
        );
    }
}
