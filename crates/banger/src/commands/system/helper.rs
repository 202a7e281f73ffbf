//! `banger-root`: where it is, what it has claimed for a user, and whether it answers.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::account::{Account, own_program};
use crate::programs::{self, ProgramOutput, Verbosity};
use crate::session::Session;

/// Where what root runs is kept; only root can write there.
pub(super) const PROGRAMS: &str = "/usr/local/libexec/banger";

/// The programs that may be there.
const NAMES: [&str; 3] = ["banger-root", "firecracker", "jailer"];

/// What `banger-root` keeps for a user, which nobody else has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) uid: u32,
    pub(super) user: String,
    pub(super) state: PathBuf,
    pub(super) subnet: String,
    pub(super) dns_port: u16,
}

/// A program that root runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Installed {
    pub(super) path: PathBuf,
    pub(super) sha256: String,
    /// Whether the program of this name beside our own is the same; nothing where there is none.
    pub(super) is_ours: Option<bool>,
}

/// What was claimed for this user, if it was.
pub(super) fn claim(uid: u32) -> Option<Claim> {
    let text = std::fs::read(format!("/etc/banger/{uid}.json")).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The programs that are in place.
pub(super) fn installed() -> Vec<Installed> {
    let beside = own_program().ok();
    NAMES
        .into_iter()
        .filter_map(|name| {
            let path = Path::new(PROGRAMS).join(name);
            let sha256 = digest(&path)?;
            let ours = beside.as_ref().map(|it| it.with_file_name(name));
            let is_ours = ours.and_then(|it| digest(&it)).map(|it| it == sha256);
            Some(Installed {
                path,
                sha256,
                is_ours,
            })
        })
        .collect()
}

fn digest(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let digest = Sha256::digest(&bytes);
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The socket that root answers this user on.
pub(super) fn socket(uid: u32) -> PathBuf {
    format!("/run/banger/{uid}/root.sock").into()
}

/// The unit that puts the firewall back when somebody flushed it.
pub(super) fn firewall_unit(uid: u32) -> String {
    format!("banger-firewall@{uid}.service")
}

/// The unit that stops the user's VMs when the host goes down.
pub(super) fn shutdown_unit(uid: u32) -> String {
    format!("banger-shutdown@{uid}.service")
}

/// Where it is kept.
pub(super) fn shutdown_unit_file(uid: u32) -> PathBuf {
    Path::new("/etc/systemd/system").join(shutdown_unit(uid))
}

/// Whether somebody listens there. Root does not serve another user than the socket's own.
pub(super) fn answers(uid: u32) -> bool {
    let family = AddressFamily::UNIX;
    let flags = SocketFlags::CLOEXEC;
    let Ok(client) = rustix::net::socket_with(family, SocketType::SEQPACKET, flags, None) else {
        return false;
    };
    SocketAddrUnix::new(socket(uid)).is_ok_and(|it| rustix::net::connect(&client, &it).is_ok())
}

/// Runs `banger-root`, by sudo where we are not root, which may ask for a password.
///
/// # Errors
/// Where there is no such program or no sudo, or it does not end well; it has said why itself.
pub(super) fn run(
    words: &[OsString],
    account: &Account,
    session: &Session,
) -> Result<ProgramOutput> {
    let program = find()?;
    let (program, words) = if account.by_root || account.is_root() {
        (program, words.to_vec())
    } else {
        let sudo = programs::find(session.places.search.as_deref(), "sudo").ok_or_else(|| {
            let verb = words
                .first()
                .map_or_else(Default::default, |it| it.display().to_string());
            Error::new(Code::NotReady, "there is no program `sudo`").hint(format!(
                "as root: banger system {verb} --user {}",
                account.name
            ))
        })?;
        let before = [OsString::from("--"), program.into()];
        (sudo, [&before, words].concat())
    };
    let ended = programs::run(&program, &words, &[], Verbosity::All)?;
    if ended.done {
        return Ok(ended);
    }
    Err(Error::new(
        Code::Host,
        "root's part did not succeed; it said why above",
    ))
}

/// Beside our own program, else where it is installed.
fn find() -> Result<PathBuf> {
    let beside = own_program()?.with_file_name("banger-root");
    let installed = Path::new(PROGRAMS).join("banger-root");
    [&beside, &installed]
        .into_iter()
        .find(|it| it.is_file())
        .cloned()
        .ok_or_else(|| {
            Error::new(
                Code::NotReady,
                format!("`{}` is not there", beside.display()),
            )
            .hint("build and install all programs: make install")
        })
}

/// What `banger-root install` says at its end.
///
/// # Errors
/// `internal` where that cannot be read, or nothing was claimed for a user.
pub(super) fn read_placed(text: &str, account: &Account) -> Result<Installation> {
    let unreadable = || Error::new(Code::Internal, "read what `banger-root` says");
    let placed: Installation = serde_json::from_str(text.lines().last().unwrap_or_default())
        .map_err(|cause| unreadable().cause(cause.to_string()))?;
    if placed.claim.is_none() && !account.is_root() {
        return Err(unreadable().cause(format!("nothing for `{}`", account.name)));
    }
    Ok(placed)
}

/// What is in place for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Installation {
    /// What the user was granted; nothing where that is root.
    #[serde(flatten)]
    pub(super) claim: Option<Claim>,
    /// The programs, each with its digest.
    pub(super) programs: Vec<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_says_is_read() {
        let text = r#"{"uid":1000,"user":"ada","state":"/home/ada/.local/state/banger","subnet":"10.215.0.0/20","dns_port":42069,"programs":[{"path":"/usr/local/libexec/banger/banger-root","sha256":"00"}]}"#;
        let account = |uid| Account {
            name: "ada".into(),
            uid,
            home: "/home/ada".into(),
            by_root: false,
        };
        let (ada, root) = (account(1000), account(0));
        let placed = read_placed(&format!("a word\n{text}\n"), &ada).unwrap();
        assert_eq!(placed.claim.unwrap().dns_port, 42069);
        assert_eq!(placed.programs[0]["sha256"], "00");
        let nothing = r#"{"programs":[]}"#;
        assert_eq!(read_placed(nothing, &root).unwrap().claim, None);
        assert!(read_placed(nothing, &ada).is_err());
        assert!(read_placed("", &ada).is_err());
    }

    #[test]
    fn nobody_answers_for_a_user_who_is_not_served() {
        assert!(!answers(4_000_000_000));
        assert_eq!(claim(4_000_000_000), None);
    }
}
