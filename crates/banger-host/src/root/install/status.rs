//! The state of root's side of banger for one user: what is installed, and whether it runs.
//!
//! It changes nothing and needs no privileges, so any user may ask about any other.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Paths;
use super::own::ROOT;
use super::units;
use crate::command::{Command, PROMPTLY};
use crate::root::socket_path;
use crate::{Claim, Result};

/// The status of root's side of banger for one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HelperStatus {
    /// The user's number.
    pub uid: u32,
    /// Whether the user is root, whose daemon needs no helper.
    pub is_root: bool,
    /// Whether the user's socket has a listener.
    pub answers: bool,
    /// The path of the user's socket.
    pub socket: PathBuf,
    /// The grant to the user.
    pub claim: Option<Claim>,
    /// The version of this program.
    pub version: String,
    /// The programs that root runs; empty for root.
    pub programs: Vec<ProgramStatus>,
    /// The system's units, in the order in which they start; empty without systemd.
    pub units: Vec<UnitStatus>,
    /// Whether the user's units keep running without a login; `None` without systemd.
    pub linger: Option<bool>,
}

/// A program that root runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramStatus {
    /// Its path.
    pub path: PathBuf,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Whether it equals the program of its name in the folder to compare with; `None` if that has
    /// none.
    pub is_ours: Option<bool>,
}

/// The status of a unit, in systemd's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitStatus {
    /// Its name.
    pub name: String,
    /// `active`, `inactive`, `failed` …
    pub active: String,
    /// `enabled`, `disabled`, `not-found` …
    pub enabled: String,
}

impl UnitStatus {
    fn is_well(&self) -> bool {
        self.active == "active" && self.enabled == "enabled"
    }
}

impl HelperStatus {
    /// Inspects this host, and compares the programs with those of the same names in `beside`.
    ///
    /// # Errors
    /// If the user's claim exists and cannot be read, or systemd cannot be asked.
    pub fn look(uid: u32, beside: Option<&Path>) -> Result<Self> {
        Self::look_in(&Paths::of_this_host(), uid, beside)
    }

    fn look_in(paths: &Paths, uid: u32, beside: Option<&Path>) -> Result<Self> {
        let is_root = uid == ROOT;
        let mut programs = Vec::new();
        if !is_root {
            for name in ["banger-root", "firecracker", "jailer"] {
                programs.extend(program(&paths.programs.join(name), beside));
            }
        }
        let (mut units, mut linger) = (Vec::new(), None);
        if paths.systemd.is_some() {
            for name in units::of(uid) {
                units.push(unit(name)?);
            }
            linger = Some(lingers(uid)?);
        }
        Ok(Self {
            uid,
            is_root,
            answers: answers(uid),
            socket: socket_path(uid),
            claim: Claim::read(&paths.claim(uid), uid)?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            programs,
            units,
            linger,
        })
    }

    /// Whether everything that the user needs of root is installed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        if self.is_root {
            !self.units.is_empty() && self.units.iter().all(UnitStatus::is_well)
        } else {
            self.claim.is_some() && self.answers
        }
    }

    /// The status as text, a line for each item, with or without colours.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        let mut line = |name: &str, is_well: Option<bool>, value: &str| {
            let sgr = match is_well.filter(|_| colour) {
                Some(true) => ("\x1b[32m", "\x1b[0m"),
                Some(false) => ("\x1b[33m", "\x1b[0m"),
                None => ("", ""),
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<12}{}{value}{}", sgr.0, sgr.1);
        };
        let (uid, socket) = (self.uid, self.socket.display());
        let user = self
            .claim
            .as_ref()
            .map_or_else(|| format!("user {uid}"), |it| it.user.clone());
        let helper = if self.is_root {
            "not needed: root's daemon works directly".to_owned()
        } else if self.answers {
            format!("answers {user} on {socket} {}", self.version)
        } else {
            format!("does not answer {user} on {socket}")
        };
        line("helper", Some(self.is_root || self.answers), &helper);
        match &self.claim {
            Some(claim) => {
                line("state", None, &claim.state.display().to_string());
                line("subnet", None, &claim.subnet.to_string());
                line("DNS", None, &format!("127.0.0.1:{}", claim.dns_port));
            }
            None if self.is_root => {}
            None => line("claim", Some(false), "not installed for this user"),
        }
        for program in &self.programs {
            let same = match program.is_ours {
                Some(true) => "same as beside banger",
                Some(false) => "differs from the one beside banger",
                None => "",
            };
            let short: String = program.sha256.chars().take(16).collect();
            let shown = format!("{} {short}… {same}", program.path.display());
            line("program", program.is_ours, shown.trim_end());
        }
        for unit in &self.units {
            let state = format!("{} {}, {}", unit.name, unit.active, unit.enabled);
            line("unit", Some(unit.is_well()), &state);
        }
        match self.linger {
            Some(true) => line("linger", Some(true), "on: VMs live on when you log out"),
            Some(false) => line(
                "linger",
                Some(false),
                "off: VMs end when you log out; sudo loginctl enable-linger $USER",
            ),
            None => line("systemd", Some(false), "does not run here"),
        }
        text
    }
}

fn program(path: &Path, beside: Option<&Path>) -> Option<ProgramStatus> {
    let sha256 = digest(path)?;
    let ours = beside.and_then(|it| digest(&it.join(path.file_name()?)));
    Some(ProgramStatus {
        path: path.to_owned(),
        is_ours: ours.map(|it| it == sha256),
        sha256,
    })
}

fn digest(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    let digest = hash.finalize();
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unit(name: String) -> Result<UnitStatus> {
    let ask = |verb: &str, none: &str| -> Result<String> {
        let output = Command::new("systemctl")
            .args([verb, &name])
            .patience(PROMPTLY)
            .output()?;
        let word = output.text().lines().next().unwrap_or_default().to_owned();
        Ok(if word.is_empty() {
            none.to_owned()
        } else {
            word
        })
    };
    Ok(UnitStatus {
        active: ask("is-active", "unknown")?,
        enabled: ask("is-enabled", "not-found")?,
        name,
    })
}

fn lingers(uid: u32) -> Result<bool> {
    let uid = uid.to_string();
    let words = ["show-user", &uid, "--property=Linger", "--value"];
    // logind does not know a user who has no session and does not linger.
    let output = Command::new("loginctl")
        .args(words)
        .patience(PROMPTLY)
        .output()?;
    Ok(output.status.success() && output.text().trim() == "yes")
}

/// Whether the helper's socket of the user has a listener.
fn answers(uid: u32) -> bool {
    let flags = SocketFlags::CLOEXEC;
    let client = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    client.is_ok_and(|client| {
        SocketAddrUnix::new(socket_path(uid))
            .is_ok_and(|it| rustix::net::connect(&client, &it).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> HelperStatus {
        HelperStatus {
            uid: 1000,
            is_root: false,
            answers: true,
            socket: socket_path(1000),
            claim: Some(Claim {
                uid: 1000,
                user: "ada".to_owned(),
                state: "/home/ada/.local/state/banger".into(),
                subnet: "10.215.16.0/20".parse().unwrap(),
                dns_port: 42070,
            }),
            version: "0.1.0".to_owned(),
            programs: vec![ProgramStatus {
                path: "/usr/local/libexec/banger/banger-root".into(),
                sha256: "0123456789abcdef0123".to_owned(),
                is_ours: Some(false),
            }],
            units: vec![UnitStatus {
                name: "banger-root@1000.socket".to_owned(),
                active: "active".to_owned(),
                enabled: "enabled".to_owned(),
            }],
            linger: Some(false),
        }
    }

    #[test]
    fn each_part_has_a_line() {
        let expected = "\
helper      answers ada on /run/banger/1000/root.sock 0.1.0
state       /home/ada/.local/state/banger
subnet      10.215.16.0/20
DNS         127.0.0.1:42070
program     /usr/local/libexec/banger/banger-root 0123456789abcdef… differs from the one beside banger
unit        banger-root@1000.socket active, enabled
linger      off: VMs end when you log out; sudo loginctl enable-linger $USER
";
        assert_eq!(status().text(false), expected);
        assert!(
            status()
                .text(true)
                .starts_with("helper      \x1b[32manswers ada")
        );
    }

    #[test]
    fn a_user_needs_a_claim_and_an_answer_and_root_only_units() {
        assert!(status().is_whole());
        let silent = HelperStatus {
            answers: false,
            ..status()
        };
        assert!(!silent.is_whole());
        assert!(
            silent
                .text(false)
                .starts_with("helper      does not answer ada on ")
        );
        let root = HelperStatus {
            uid: 0,
            is_root: true,
            answers: false,
            claim: None,
            ..status()
        };
        assert!(root.is_whole());
        assert!(root.text(false).starts_with("helper      not needed"));
        let without = HelperStatus {
            units: Vec::new(),
            ..root
        };
        assert!(!without.is_whole());
    }

    #[test]
    fn a_user_without_an_installation_is_reported_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let paths = Paths {
            programs: path("libexec"),
            claims: path("claims"),
            systemd: None,
            ..Paths::of_this_host()
        };
        let uid = 4_000_000_000;
        let nothing = HelperStatus::look_in(&paths, uid, None).unwrap();
        assert!(!nothing.is_whole());
        let text = nothing.text(false);
        assert!(
            text.contains("claim       not installed for this user\n"),
            "{text}"
        );
        // The installed program and the one beside differ.
        for (folder, contents) in [("libexec", "one"), ("beside", "another")] {
            std::fs::create_dir(path(folder)).unwrap();
            std::fs::write(path(folder).join("banger-root"), contents).unwrap();
        }
        for (beside, same) in [
            ("libexec", Some(true)),
            ("beside", Some(false)),
            ("none", None),
        ] {
            let found = HelperStatus::look_in(&paths, uid, Some(&path(beside))).unwrap();
            assert_eq!(found.programs.len(), 1);
            assert_eq!(found.programs[0].is_ours, same, "{beside}");
        }
    }
}
