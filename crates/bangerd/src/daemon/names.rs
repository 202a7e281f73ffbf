//! The resolver's part of the daemon's life: it answers as soon as its port is free.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use banger_api::location::Location;
use banger_host::{Claim, KeptPort};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::config::Config;
use crate::engine::Engine;
use crate::resolver::{self, Names, Sockets};
use crate::server::Shutdown;

/// The pause between two attempts to get the port, which the daemon before this one may still have.
const PAUSE: Duration = Duration::from_secs(5);

/// The engine's VMs as names below `.vm`.
#[derive(Debug)]
struct VmNames(Arc<Engine>);

impl Names for VmNames {
    fn address(&self, name: &str) -> Option<Option<Ipv4Addr>> {
        self.0.address_of(name)
    }
}

/// Starts the resolver; while its port is in use, everything else works.
pub(super) fn start_resolver(
    location: &Location,
    config: &Config,
    engine: &Arc<Engine>,
    shutdown: &Shutdown,
) -> Option<JoinHandle<()>> {
    let port = config.dns_port;
    if port == 0 {
        return None;
    }
    // The first attempt is over before the daemon is ready.
    let first = dns_sockets(location, port);
    match &first {
        Ok(_) => engine.set_answering(true),
        Err(error) => tracing::warn!(port, %error, "no names are answered"),
    }
    let (location, engine, shutdown) = (location.clone(), engine.clone(), shutdown.clone());
    let bind = move || dns_sockets(&location, port);
    Some(tokio::spawn(answer(first, bind, PAUSE, engine, shutdown)))
}

/// The sockets of the resolver: those that root reserved for this user, if the configured port is
/// the reserved one, or else newly bound ones.
fn dns_sockets(location: &Location, port: u16) -> io::Result<Sockets> {
    let uid = rustix::process::geteuid().as_raw();
    let is_kept = |it: Claim| it.is_for(&location.state) && it.dns_port == port;
    if uid != 0 && Claim::of(uid).ok().flatten().is_some_and(is_kept) {
        match KeptPort::of(uid) {
            Ok(Some(port)) => return Sockets::kept(port),
            Ok(None) => {}
            Err(error) => {
                let text = format!("the port that root reserves is not available: {error}");
                return resolver::bind(port).map_err(|_| io::Error::other(text));
            }
        }
    }
    resolver::bind(port)
}

/// Answers from the first sockets that there are, until the daemon ends.
async fn answer(
    mut sockets: io::Result<Sockets>,
    bind: impl Fn() -> io::Result<Sockets>,
    pause: Duration,
    engine: Arc<Engine>,
    shutdown: Shutdown,
) {
    let sockets = loop {
        match sockets {
            Ok(sockets) => break sockets,
            Err(_) => tokio::select! {
                () = shutdown.begun() => return,
                () = sleep(pause) => sockets = bind(),
            },
        }
    };
    engine.set_answering(true);
    let names = Arc::new(VmNames(engine.clone()));
    let stop = async move { shutdown.begun().await };
    let served = resolver::serve(sockets, names, stop).await;
    engine.set_answering(false);
    if let Err(error) = served {
        tracing::error!(%error, "the resolver has ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::tests::simulated_location;
    use crate::assemble::{Mode, assemble};

    #[test]
    fn names_are_answered_as_soon_as_the_port_is_free_and_not_said_to_be_before() {
        let location = simulated_location();
        let config = Config {
            dns_port: 42069,
            ..Config::default()
        };
        let mode = Mode::Sim(banger_host::Sim::new());
        let engine = Arc::new(assemble(&location, &config, &mode).unwrap());
        let shutdown = Shutdown::new();
        let in_use = || io::Error::from(io::ErrorKind::AddrInUse);
        let attempts = std::sync::atomic::AtomicUsize::new(0);
        let (seen, over) = (engine.clone(), shutdown.clone());
        let bind = move || {
            if attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
                assert_eq!(seen.daemon().dns, None);
                return Err(in_use());
            }
            // The resolver is told to end before it begins.
            over.begin();
            resolver::bind(0)
        };
        let answering = answer(
            Err(in_use()),
            bind,
            Duration::ZERO,
            engine.clone(),
            shutdown.clone(),
        );
        let runtime = crate::server::runtime().unwrap();
        runtime.block_on(answering);
        assert_eq!(engine.daemon().dns, None, "it has ended");

        engine.set_answering(true);
        assert_eq!(engine.daemon().dns.as_deref(), Some("127.0.0.1:42069"));
    }
}
