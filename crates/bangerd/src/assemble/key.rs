//! This installation's own SSH key pair, generated once.

use std::path::{Path, PathBuf};

use banger_api::{Code, Error};
use banger_host::{FileOp, Host, Op};
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use super::Mode;
use crate::error::{During, Result};
use crate::layout::Layout;

/// A key pair: the path of the private key, and the public key, one line.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) path: PathBuf,
    pub(super) public: String,
}

/// The configured key pair of the user, or banger's own, which is generated if absent.
pub(super) fn ensure(
    layout: &Layout,
    configured: Option<&Path>,
    host: &dyn Host,
    mode: &Mode,
) -> Result<Key> {
    match (configured, mode) {
        (Some(path), Mode::Real) => read_public(path, host),
        (Some(_) | None, _) => ours(layout, host),
    }
}

fn read_public(private: &Path, host: &dyn Host) -> Result<Key> {
    let public = with_pub(private);
    let bytes = host
        .read(&public)
        .during("read the public SSH key")?
        .ok_or_else(|| {
            Error::new(
                Code::Invalid,
                format!("there is no public key `{}`", public.display()),
            )
            .hint(format!(
                "create it: ssh-keygen -y -f {} > {}",
                private.display(),
                public.display()
            ))
            .hint("or remove `ssh_key_path` from the configuration")
        })?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    ssh_key::PublicKey::from_openssh(&text).map_err(|cause| {
        Error::new(
            Code::Invalid,
            format!("`{}` is not a public SSH key", public.display()),
        )
        .cause(cause.to_string())
    })?;
    Ok(Key {
        path: private.to_owned(),
        public: text,
    })
}

fn with_pub(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

fn ours(layout: &Layout, host: &dyn Host) -> Result<Key> {
    let path = layout.ssh_key();
    let public = with_pub(&path);
    let there = host
        .stat(&path)
        .during("look for banger's SSH key")?
        .is_some()
        && host
            .stat(&public)
            .during("look for banger's public SSH key")?
            .is_some();
    if there {
        return read_public(&path, host);
    }
    let map_io_error = |cause: ssh_key::Error| {
        Error::new(Code::Internal, "generate banger's SSH key").cause(cause.to_string())
    };
    let mut key = PrivateKey::random(&mut ssh_key::rand_core::OsRng, Algorithm::Ed25519)
        .map_err(map_io_error)?;
    key.set_comment("banger");
    let private = key.to_openssh(LineEnding::LF).map_err(map_io_error)?;
    let line = key.public_key().to_openssh().map_err(map_io_error)?;
    // The public key comes last: if it exists, the pair is complete.
    for (path, text, mode) in [
        (path.clone(), private.to_string(), 0o600),
        (public, format!("{line}\n"), 0o644),
    ] {
        let op = Op::File(FileOp::WriteFile {
            path,
            contents: text.into_bytes(),
            mode,
            owner: None,
        });
        host.change(&op).during("write banger's SSH key")?;
    }
    Ok(Key { path, public: line })
}
