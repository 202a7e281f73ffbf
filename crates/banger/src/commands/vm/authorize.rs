//! `banger vm authorize`: authorises a key in a running VM, until the VM stops.
//!
//! A client on another machine has a key of its own, which this machine's key adds to the VM.

use std::io::Read as _;
use std::process::ExitCode;

use banger_api::{Code, Error, Result};
use clap::Args;

use super::VmArgument;
use super::ssh::{connection, not_running, simulated};
use crate::failure::Outcome;
use crate::session::Session;
use crate::{agreement, programs};

/// The longest key, in bytes.
const LONGEST: u64 = 16 << 10;

/// Adds the key on standard input to those that banger authorises, unless it is there.
const SCRIPT: &str = r#"read -r key; keys=/run/banger/authorized_keys
grep -qxF -e "$key" $keys || printf '%s\n' "$key" >> $keys"#;

/// Let a public SSH key, read from standard input, into a running VM until it stops.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger vm authorize calm-otter < ~/.ssh/id_ed25519.pub")]
pub(crate) struct Authorize {
    #[command(flatten)]
    one: VmArgument,
}

impl Authorize {
    /// Lets it in.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let vm = session.daemon()?.show(&self.one.name)?;
        if agreement::is_simulated(session.daemon_view()?) {
            return Err(simulated(&vm).into());
        }
        let Some(view) = &vm.ssh else {
            return Err(not_running(&vm).into());
        };
        let mut text = String::new();
        let read = std::io::stdin().take(LONGEST).read_to_string(&mut text);
        read.map_err(|cause| {
            Error::new(Code::Invalid, "read the key from standard input").cause(cause.to_string())
        })?;
        let key = public_key(&text)?;
        let mut arguments = vec!["-T".into()];
        arguments.extend(connection(view));
        arguments.push(SCRIPT.into());
        let ended = programs::feed_ssh(&arguments, format!("{key}\n").as_bytes())?;
        if ended.status == Some(0) {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Error::new(Code::Guest, format!("let the key into `{}`", vm.name)).into())
    }
}

/// The one public key in a text, without options, which would restrict or extend the access.
fn public_key(text: &str) -> Result<&str> {
    let key = text.trim();
    let kind = key.split(' ').next().unwrap_or_default();
    let is_kind = ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|it| kind.starts_with(it));
    if is_kind && key.contains(' ') && !key.chars().any(char::is_control) {
        return Ok(key);
    }
    Err(
        Error::new(Code::Invalid, "standard input is not one public SSH key")
            .hint("give it the file that ends in .pub"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_public_key_without_options_is_taken() {
        assert_eq!(
            public_key("ssh-ed25519 AAAA ada\n"),
            Ok("ssh-ed25519 AAAA ada")
        );
        for text in [
            "",
            "ssh-ed25519",
            "command=\"x\" ssh-ed25519 AAAA",
            "ssh-ed25519 AAAA\nssh-ed25519 BBBB",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            public_key(text).unwrap_err();
        }
    }
}
