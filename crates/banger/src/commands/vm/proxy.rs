//! `banger vm proxy`: connects standard input and output to a TCP port of a VM.
//!
//! It is the `ProxyCommand` of an ssh to a VM on another machine: banger there connects, whatever
//! the VM's network is. Ports other than that of SSH are reached through the guest program.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use banger_api::{Code, Endpoint, EndpointHost, Error, InvalidName, Result, VmRef, VmView};
use clap::Args;

use super::forward::join_stdio;
use super::ssh::{not_running, simulated};
use crate::commands::dial_stdio::copy;
use crate::failure::Outcome;
use crate::remote::Remote;
use crate::session::Session;
use crate::{agreement, programs};

/// How long a guest may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The port of a guest's sshd.
const SSH: u16 = 22;

/// Join standard input and output to a TCP port of a VM.
///
/// For ssh's ProxyCommand. With --host, the port is one of a VM of the other machine: banger there connects to it, and the name may be NAME.HOST.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ssh -o ProxyCommand='banger --host lab vm proxy calm-otter 22' root@calm-otter
  banger vm proxy calm-otter 5432 < query > answer")]
pub(crate) struct Proxy {
    /// The VM.
    name: String,

    /// The port.
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
}

impl Proxy {
    /// Copies until the guest closes the connection.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let remote = session.places.remote.as_ref();
        let vm = session.daemon()?.show(&self.reference(remote)?)?;
        if self.port == SSH && agreement::is_simulated(session.daemon_view()?) {
            return Err(simulated(&vm).into());
        }
        if let Some(remote) = remote {
            return Err(self.become_ssh(remote, &vm)?.into());
        }
        // A direct connection also reaches an sshd that listens on the VM's address only, and works
        // with an older guest program.
        if self.port == SSH
            && let Ok(address) = address(&vm)
            && let Ok(stream) = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
        {
            join(&stream).map_err(|cause| {
                Error::new(Code::Guest, format!("talk to `{}`", vm.name)).cause(cause.to_string())
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let to = Endpoint::Tcp(EndpointHost::Localhost, self.port);
        join_stdio(session.daemon()?.connect(&vm.id.into(), &to)?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn reference(&self, remote: Option<&Remote>) -> Result<VmRef> {
        let of_host = remote.and_then(|remote| {
            let name = self.name.strip_suffix(remote.name())?;
            name.strip_suffix('.')
        });
        let name = of_host.unwrap_or(&self.name);
        name.parse()
            .map_err(|wrong: InvalidName| Error::new(Code::Invalid, wrong.to_string()))
    }

    /// Executes an ssh that runs the same command there. Returns only on failure.
    fn become_ssh(&self, remote: &Remote, vm: &VmView) -> Result<Error> {
        if self.port == SSH {
            if vm.ssh.is_none() {
                return Err(not_running(vm));
            }
            // A user's own ssh reads the file after this command has answered.
            remote.pin(std::slice::from_ref(vm))?;
            remote.authorize(vm)?;
        }
        let port = self.port.to_string();
        let words = ["vm", "proxy", vm.name.as_str(), &port].map(Into::into);
        let arguments = remote.run_there(&words, false)?;
        Ok(programs::become_ssh(&arguments))
    }
}

/// The address of a VM's sshd on the VM's machine.
fn address(vm: &VmView) -> Result<SocketAddr> {
    let Some(ssh) = &vm.ssh else {
        return Err(not_running(vm));
    };
    let invalid = |cause: std::net::AddrParseError| {
        Error::new(Code::Internal, format!("`{}` has no address", vm.name)).cause(cause.to_string())
    };
    let address: IpAddr = ssh.host.parse().map_err(invalid)?;
    Ok((address, ssh.port).into())
}

/// Copies both ways, and passes on the end of the input.
fn join(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let mut output = File::from(rustix::stdio::stdout().try_clone_to_owned()?);
    let mut to_guest = stream.try_clone()?;
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let _ = copy(&mut input, &mut to_guest);
            let _ = to_guest.shutdown(Shutdown::Write);
        })?;
    copy(&mut &*stream, &mut output)
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::calm_otter;
    use super::*;

    #[test]
    fn the_sshd_is_where_the_vms_network_has_it() {
        let mut vm = calm_otter();
        let found = |vm: &VmView| address(vm).map(|it| it.to_string());
        assert_eq!(found(&vm).unwrap(), "10.215.0.2:22");
        // User networking forwards one port, on loopback.
        let ssh = vm.ssh.as_mut().unwrap();
        (ssh.host, ssh.port) = ("127.0.0.1".to_owned(), 40022);
        assert_eq!(found(&vm).unwrap(), "127.0.0.1:40022");
        vm.ssh = None;
        found(&vm).unwrap_err();
    }
}
