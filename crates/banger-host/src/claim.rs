//! A claim: what an administrator grants to one user, which is a network, a DNS port and a state
//! directory.
//!
//! A claim is a root-owned file, `/etc/banger/<uid>.json`. `banger-root install` writes it, and
//! everybody may read it. Root checks every request of the user against it. The daemon takes its
//! network from it, so that no two users have the same one.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::{Error, Instance, Kind, Result, Subnet, real_path};

/// The folder of claims.
pub(crate) const FOLDER: &str = "/etc/banger";

/// The largest claim that is read, in bytes. A real one has about two hundred.
const LARGEST: u64 = 16 << 10;

/// The grant to one user, for one state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The user's number.
    pub uid: u32,
    /// The user's name, for people.
    pub user: String,
    /// The state directory, an absolute path.
    pub state: PathBuf,
    /// The network for the addresses of guests.
    pub subnet: Subnet,
    /// The port on 127.0.0.1 that answers names below `vm`.
    pub dns_port: u16,
}

impl Claim {
    /// The path of a user's claim.
    #[must_use]
    pub fn path(uid: u32) -> PathBuf {
        Path::new(FOLDER).join(format!("{uid}.json"))
    }

    /// Reads the claim of a user, or returns `None` if there is none.
    ///
    /// # Errors
    /// If the file is writable by others than root, cannot be read, or is not a valid claim.
    pub fn of(uid: u32) -> Result<Option<Self>> {
        Self::read(&Self::path(uid), uid)
    }

    pub(crate) fn read(path: &Path, uid: u32) -> Result<Option<Self>> {
        let wrong = |what: &str| {
            Error::new(Kind::Other, what)
                .within(format!("read `{}`", path.display()))
                .hint("recreate it: banger system install")
        };
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match File::options().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(wrong(&cause.to_string())),
        };
        let meta = file.metadata().map_err(|cause| wrong(&cause.to_string()))?;
        if !meta.is_file() || meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            return Err(wrong("it is not a file that only root can write"));
        }
        let mut text = String::new();
        file.take(LARGEST)
            .read_to_string(&mut text)
            .map_err(|cause| wrong(&cause.to_string()))?;
        let claim: Self = serde_json::from_str(&text).map_err(|cause| wrong(&cause.to_string()))?;
        if claim.uid != uid || uid == 0 {
            return Err(wrong("it belongs to another user"));
        }
        if !claim.state.is_absolute() {
            return Err(wrong("its state directory is not an absolute path"));
        }
        Ok(Some(claim))
    }

    /// Whether the claim is for this state directory, given by its real path.
    #[must_use]
    pub fn is_for(&self, state: &Path) -> bool {
        real_path(&self.state).is_ok_and(|real| real == state)
    }

    /// The instance that names the user's things on the host.
    #[must_use]
    pub fn instance(&self) -> Instance {
        Instance::new(self.uid, &self.state)
    }

    /// The host's own address towards guests: the first of the network.
    #[must_use]
    pub fn host_address(&self) -> Ipv4Addr {
        // A network has at least three host bits, so this does not overflow.
        Ipv4Addr::from(u32::from(self.subnet.network) | 1)
    }

    /// Whether a guest may have this address: the first two and the last of the network are
    /// reserved.
    #[must_use]
    pub fn has_guest(&self, address: Ipv4Addr) -> bool {
        let last = u32::from(self.subnet.network) | u32::MAX >> self.subnet.prefix;
        self.subnet.contains(address)
            && (u32::from(self.host_address()) + 1..last).contains(&u32::from(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::testing::is_root;

    fn claim() -> Claim {
        Claim {
            uid: 1000,
            user: "ada".to_owned(),
            state: "/home/ada/.local/state/banger".into(),
            subnet: "10.216.0.0/20".parse().unwrap(),
            dns_port: 42070,
        }
    }

    fn read(text: &str) -> Result<Option<Claim>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1000.json");
        std::fs::write(&path, text).unwrap();
        Claim::read(&path, 1000)
    }

    #[test]
    fn a_claim_reads_as_it_was_written() {
        if !is_root() {
            return;
        }
        let text = serde_json::to_string(&claim()).unwrap();
        assert!(text.contains(r#""subnet":"10.216.0.0/20""#), "{text}");
        assert_eq!(read(&text).unwrap(), Some(claim()));
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("1000.json");
        assert_eq!(Claim::read(&absent, 1000).unwrap(), None);
    }

    #[test]
    fn a_claim_that_is_not_what_it_should_be_is_refused() {
        if !is_root() {
            return;
        }
        let text = serde_json::to_string(&claim()).unwrap();
        for (old, new) in [
            ("1000", "1001"),
            ("1000", "0"),
            ("/home", "home"),
            ("10.216.0.0/20", "10.216.0.1/20"),
            ("10.216.0.0/20", "10.216.0.0/30"),
            ("\"user\"", "\"owner\""),
            ("{", "[{"),
        ] {
            let changed = text.replacen(old, new, 1);
            assert_ne!(changed, text);
            let error = read(&changed).unwrap_err();
            assert!(
                error.hints()[0].contains("banger system install"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_claim_that_another_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1000.json");
        std::fs::write(&path, serde_json::to_vec(&claim()).unwrap()).unwrap();
        let read = || Claim::read(&path, 1000);
        assert!(read().unwrap().is_some());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
        assert!(read().is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::chown(&path, Some(1000), None).unwrap();
        assert!(read().is_err());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(read().is_err());
    }

    #[test]
    fn guests_have_neither_the_first_two_addresses_nor_the_last() {
        let claim = claim();
        let guest = |text: &str| claim.has_guest(text.parse().unwrap());
        assert_eq!(claim.host_address(), Ipv4Addr::new(10, 216, 0, 1));
        for good in ["10.216.0.2", "10.216.15.254"] {
            assert!(guest(good), "{good}");
        }
        for bad in [
            "10.216.0.0",
            "10.216.0.1",
            "10.216.15.255",
            "10.216.16.2",
            "10.215.255.254",
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
        ] {
            assert!(!guest(bad), "{bad}");
        }
    }
}
