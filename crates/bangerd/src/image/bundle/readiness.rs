//! What building a bundle or an image needs, as `doctor` shows it. VMs run without it.

use std::path::Path;
use std::time::Duration;

use banger_api::Fix;
use banger_host::{Finding, Host, Probe};

use super::requirements;
use crate::download::{self, Address};
use crate::image::recipe::Mirrors;
use crate::readiness::Check;

/// What the checks are for.
const SECTION: &str = "image builds";

/// The least free space for a build, in MiB: the tree, its file system and the archives of packages.
const LEAST_SPACE: u64 = 8192;

/// Where Debian and its relatives keep the certificate authorities of the system.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The longest wait for each step of a mirror's answer: `doctor` is run by a person.
const MIRROR_TIMEOUT: Duration = Duration::from_secs(2);

/// The checks, for a build whose result is put below `state`, with the mirrors in force.
#[must_use]
pub(crate) fn readiness(
    state: &Path,
    mirrors: impl Fn() -> Mirrors + Send + Sync + 'static,
) -> Vec<Check> {
    let unshare = !rustix::process::geteuid().is_root();
    let tools = Check::new("build tools", move |_| match requirements::check(unshare) {
        Ok(()) => Finding::Good("mmdebstrap and all that it needs".to_owned()),
        Err(error) => Finding::Bad {
            found: crate::error::chain(&error),
            hint: error.hints.join("\n"),
        },
    })
    .fixed_by(move |_| {
        let missing = requirements::missing(unshare);
        (!missing.is_empty()).then(|| Fix::install(&missing))
    });
    let space = Probe::Space {
        directory: state.to_owned(),
        least_mib: LEAST_SPACE,
    };
    let authorities = Check::new("build certificates", authorities)
        .fixed_by(|_| Some(Fix::install(&["ca-certificates"])));
    let mirror = Check::new("build mirror", move |_| mirror(&mirrors(), MIRROR_TIMEOUT));
    [
        tools,
        Check::probe("build space", space),
        authorities,
        mirror,
    ]
    .map(|check| check.only_warns().of_section(SECTION))
    .into()
}

fn authorities(host: &dyn Host) -> Finding {
    match host.stat(AUTHORITIES.as_ref()) {
        Ok(Some(stat)) if stat.length > 0 => Finding::Good(AUTHORITIES.to_owned()),
        _ => Finding::Bad {
            found: format!("there is no `{AUTHORITIES}`, which is needed to trust servers"),
            hint: "sudo apt-get install ca-certificates".to_owned(),
        },
    }
}

/// Whether apt's mirrors of the configuration answer. Stops at the first that does not.
fn mirror(mirrors: &Mirrors, within: Duration) -> Finding {
    let configured = [
        ("debian", &mirrors.debian),
        ("debian-security", &mirrors.debian_security),
    ];
    let mut answering = Vec::new();
    for (key, text) in configured {
        let Some(text) = text else { continue };
        let bad = |found: String| Finding::Bad {
            found,
            hint: format!("set `mirrors.{key}` to one that answers: banger config edit"),
        };
        let address = match Address::parse(text, Path::new("/")) {
            Ok(Address::Web(address)) => address,
            Ok(Address::File(path)) => {
                return bad(format!(
                    "`mirrors.{key}` is `{}`: apt in a VM does not reach files of this host",
                    path.display()
                ));
            }
            Err(error) => return bad(format!("`mirrors.{key}`: {}", error.message)),
        };
        if let Err(why) = download::answers(&address, within) {
            return bad(format!("`{address}` does not answer: {why}"));
        }
        answering.push(format!("`{address}`"));
    }
    if answering.is_empty() {
        return Finding::Good("none is configured: apt uses the image's own sources".to_owned());
    }
    Finding::Good(format!("{}: answered", answering.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn debian(address: &str) -> Mirrors {
        Mirrors {
            debian: Some(address.to_owned()),
            ..Mirrors::default()
        }
    }

    fn found(mirrors: &Mirrors) -> Finding {
        mirror(mirrors, Duration::from_millis(500))
    }

    #[test]
    fn a_mirror_that_answers_is_good_whatever_it_says() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://ada:secret@{}/debian", server.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            String::from_utf8_lossy(request.get(..length).unwrap()).into_owned()
        });
        let Finding::Good(text) = mirror(&debian(&address), Duration::from_secs(30)) else {
            panic!("it answers");
        };
        assert!(
            text.contains("/debian") && !text.contains("secret"),
            "{text}"
        );
        assert!(serving.join().unwrap().starts_with("GET /debian "));
    }

    #[test]
    fn a_silent_or_closed_mirror_is_named_with_its_key() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent_address = format!("http://{}/debian", silent.local_addr().unwrap());
        let file = "file:///srv/debian".to_owned();
        // Port 1 of the loopback: nothing listens there.
        for address in [silent_address, "http://127.0.0.1:1/".to_owned(), file] {
            let Finding::Bad { found, hint } = found(&debian(&address)) else {
                panic!("`{address}` counts as reachable");
            };
            let path = address.trim_start_matches("file://");
            assert!(found.contains(path), "{found}");
            assert!(hint.contains("mirrors.debian"), "{hint}");
        }
    }

    #[test]
    fn without_a_mirror_nothing_is_asked() {
        assert!(matches!(found(&Mirrors::default()), Finding::Good(_)));
    }
}
