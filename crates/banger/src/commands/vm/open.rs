//! `banger vm open`: the address of a web service of a VM.

use std::ffi::OsString;
use std::net::IpAddr;
use std::process::ExitCode;

use banger_api::{Code, Endpoint, EndpointHost, Error, NetworkKind, PortView, Result, VmView};
use clap::Args;
use serde::Serialize;

use super::VmArgument;
use super::forward::{Rule, forward_to};
use crate::failure::Outcome;
use crate::programs;
use crate::session::Session;

/// Print the URL of a web service of a VM, and open it in the browser.
///
/// The URL is that of the VM itself where this machine reaches the service. Otherwise, as with a service on the VM's loopback, with user networking or with --host, a port of this machine is forwarded to it, until this command is ended. A browser is opened on a terminal of a desktop.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm open calm-otter 8080
  banger vm open calm-otter 8443 --https --path /login
  banger vm open calm-otter 3000 --print")]
pub(crate) struct Open {
    #[command(flatten)]
    one: VmArgument,

    /// The TCP port of the service.
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// The path in the URL.
    #[arg(long, value_name = "/PATH", default_value = "/", value_parser = path)]
    path: String,

    /// The service speaks HTTPS.
    #[arg(long)]
    https: bool,

    /// Print the URL only.
    #[arg(long)]
    print: bool,
}

/// The URL, for programs.
#[derive(Debug, Serialize)]
struct UrlView<'a> {
    url: &'a str,
    /// Whether it leads through a forward of this command.
    forwarded: bool,
}

impl Open {
    /// Prints the URL, and forwards as long as that is needed.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let daemon = session.daemon()?;
        let vm = daemon.show(&self.one.name)?;
        let ports = daemon.ports(&vm.id.into())?;
        let services: Vec<&PortView> = ports
            .iter()
            .filter(|it| it.protocol == "tcp" && it.port == self.port)
            .collect();
        if services.is_empty() {
            let text = format!("nothing listens on port {} of `{}`", self.port, vm.name);
            return Err(Error::new(Code::NotFound, text)
                .hint(format!("see what listens: banger vm ports {}", vm.name))
                .hint(format!(
                    "wait for it: banger vm wait {} --for port:{}",
                    vm.name, self.port
                ))
                .into());
        }
        let direct = match session.places.remote {
            Some(_) => None,
            None => direct_address(&vm, &services),
        };
        if let Some(address) = direct {
            self.announce(&address.to_string(), self.port, false, session)?;
            return Ok(ExitCode::SUCCESS);
        }
        let loopback = EndpointHost::Address(IpAddr::from([127, 0, 0, 1]));
        let rule = Rule {
            listen: Endpoint::Tcp(loopback, 0),
            target: Endpoint::Tcp(EndpointHost::Localhost, self.port),
        };
        forward_to(&vm.id.into(), rule, session, |listen| match listen {
            Endpoint::Tcp(_, port) => self.announce("127.0.0.1", *port, true, session),
            Endpoint::Unix(_) => Ok(()),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn announce(&self, host: &str, port: u16, forwarded: bool, session: &Session) -> Result<()> {
        let scheme = if self.https { "https" } else { "http" };
        let url = format!("{scheme}://{host}:{port}{}", self.path);
        let view = UrlView {
            url: &url,
            forwarded,
        };
        let printed = session.output.result(&view, || url.clone());
        printed
            .map_err(|cause| Error::new(Code::Host, "print the URL").cause(cause.to_string()))?;
        if forwarded {
            session.output.note("it works until ^C");
        }
        let places = &session.places;
        let shows = session.output.terminal && places.has_display && !self.print;
        if shows && let Some(opener) = programs::find(places.search.as_deref(), "xdg-open") {
            programs::launch(&opener, &[OsString::from(url)])?;
        }
        Ok(())
    }
}

/// The address at which this machine reaches one of these sockets, if there is one.
fn direct_address(vm: &VmView, services: &[&PortView]) -> Option<IpAddr> {
    let address = IpAddr::from(vm.address?);
    let reached = [address, [0; 4].into(), [0_u16; 8].into()];
    let is_direct =
        vm.network == NetworkKind::Tap && services.iter().any(|it| reached.contains(&it.address));
    is_direct.then_some(address)
}

/// A path of a URL (RFC 3986, 3.3), with a query if there is one.
fn path(text: &str) -> std::result::Result<String, String> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    match text.starts_with('/') && is_plain {
        true => Ok(text.to_owned()),
        false => Err(
            "a path begins with `/`; other characters than those of a URL are written as %20"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::vm::description::tests::calm_otter;

    #[test]
    fn a_service_on_loopback_is_not_reached_directly() {
        let port = |address: [u8; 4]| PortView {
            protocol: "tcp".to_owned(),
            address: address.into(),
            port: 80,
            pid: None,
            process: None,
            forwarded_from: Vec::new(),
        };
        let vm = calm_otter();
        let direct = |addresses: &[[u8; 4]]| {
            let ports: Vec<PortView> = addresses.iter().copied().map(port).collect();
            direct_address(&vm, &ports.iter().collect::<Vec<_>>())
        };
        assert_eq!(direct(&[[127, 0, 0, 1]]), None);
        assert_eq!(
            direct(&[[127, 0, 0, 1], [0; 4]]),
            vm.address.map(IpAddr::from)
        );
        let user = VmView {
            network: NetworkKind::User,
            ..calm_otter()
        };
        assert_eq!(direct_address(&user, &[&port([0; 4])]), None);
    }

    #[test]
    fn a_path_is_that_of_a_url() {
        for good in ["/", "/a/b?c=d#e", "/%20"] {
            assert_eq!(path(good).as_deref(), Ok(good));
        }
        for bad in ["", "a", "/a b", "/\u{e9}", "/\n"] {
            path(bad).unwrap_err();
        }
    }
}
