//! The guest's side of a copy, from the request on.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::NoWatch;
use crate::connection::{Connection, CopyError};
use crate::frame::Frame;
use crate::itself::require_apart;
use crate::receiver::{ReceiveOptions, Receiver, Target};
use crate::sender::{SendOptions, Sender};

/// The most paths of a request.
const MOST_PATHS: usize = 4096;

/// How long the request may take, and the client to close.
const PATIENCE: Duration = Duration::from_secs(30);

/// The direction of a copy, as the client sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// From the client into the guest. The first path is the destination, the others are the names of the
    /// sources there; an empty one stands for the contents of its source.
    #[default]
    Push,
    /// From the guest to the client. The paths are the sources.
    Pull,
    /// A directory of the guest becomes the same as one of the client. The path is that of the guest. Batches
    /// follow each other, each with an end and an answer, until the stream ends.
    Sync,
}

/// What a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// The direction.
    pub verb: Verb,
    /// The guest's user, by name or number; root if there is none.
    pub user: Option<String>,
    /// Directories are copied, too.
    pub recursive: bool,
    /// Owners are kept, and in a push the special bits.
    pub archive: bool,
    /// The sender says before how much comes.
    pub count: bool,
    /// The destination has to be a directory that is there.
    pub into: bool,
    /// In a pull: where the files go, if that is in the same guest, as the user wrote it.
    pub destination: Option<Vec<u8>>,
    /// In a sync: nothing changes.
    pub dry: bool,
    /// In a sync: what the client has not is removed, so that the directory may not be `/`, and may not
    /// have the user's home in it.
    pub delete: bool,
}

/// What a path means in a guest: nothing or `~` is the home, and other relative paths begin there.
#[must_use]
pub fn resolve(path: &[u8], home: &Path, root: &Path) -> PathBuf {
    let text = Path::new(OsStr::from_bytes(path));
    match path {
        b"" | b"~" => home.to_owned(),
        [b'~', b'/', rest @ ..] => {
            let below = Path::new(OsStr::from_bytes(rest));
            home.join(below.strip_prefix("/").unwrap_or(below))
        }
        [b'/', ..] => root.join(text.strip_prefix("/").unwrap_or(text)),
        _ => home.join(text),
    }
}

/// Does what the client asks for. `become_user` gets the user's name and returns the home; `root` is what
/// absolute paths begin at.
pub fn serve(
    mut connection: Connection,
    root: &Path,
    become_user: impl FnOnce(Option<&str>) -> Result<PathBuf, String>,
) {
    let outcome = converse(&mut connection, root, become_user);
    if let Err(CopyError::Refused(reason)) = &outcome {
        let _ = connection.send(&Frame::Refusal(reason.clone()));
    }
    let _ = connection.close(PATIENCE);
}

fn converse(
    connection: &mut Connection,
    root: &Path,
    become_user: impl FnOnce(Option<&str>) -> Result<PathBuf, String>,
) -> Result<(), CopyError> {
    let _ = connection.set_patience(Some(PATIENCE));
    let (request, paths) = read_request(connection)?;
    let _ = connection.set_patience(None);
    let home = become_user(request.user.as_deref()).map_err(CopyError::Refused)?;
    let guest = Guest { home, root };
    match request.verb {
        Verb::Pull => guest.pull(connection, &request, &paths),
        Verb::Push => guest.push(connection, &request, &paths),
        Verb::Sync => guest.sync(connection, &request, &paths),
    }
}

/// Where paths of the client begin.
struct Guest<'a> {
    home: PathBuf,
    root: &'a Path,
}

impl Guest<'_> {
    fn resolve(&self, path: &[u8]) -> PathBuf {
        resolve(path, &self.home, self.root)
    }

    fn pull(
        &self,
        connection: &mut Connection,
        request: &Request,
        sources: &[Vec<u8>],
    ) -> Result<(), CopyError> {
        let paths: Vec<PathBuf> = sources.iter().map(|it| self.resolve(it)).collect();
        for path in &paths {
            require(path, request.recursive).map_err(CopyError::Refused)?;
        }
        if let Some(destination) = &request.destination {
            let destination = self.resolve(destination);
            require_apart(sources, &paths, &destination).map_err(CopyError::Refused)?;
        }
        connection.send(&Frame::Accepted)?;
        let options = SendOptions {
            count: request.count,
            recursive: request.recursive,
        };
        let mut watch = NoWatch;
        let mut sender = Sender::new(connection, &mut watch, options);
        sender.send_all(&paths)?;
        sender.finish().map(drop)
    }

    fn push(
        &self,
        connection: &mut Connection,
        request: &Request,
        paths: &[Vec<u8>],
    ) -> Result<(), CopyError> {
        let Some((destination, names)) = paths.split_first() else {
            return Err(CopyError::Refused("there is no destination".to_owned()));
        };
        let name = |it: &Vec<u8>| (!it.is_empty()).then(|| OsString::from_vec(it.clone()));
        let target = Target {
            path: self.resolve(destination),
            names: names.iter().map(name).collect(),
            into: request.into,
            ..Target::default()
        };
        if !target.names.iter().flatten().all(|it| is_name(it)) {
            return Err(CopyError::Refused("a source has no plain name".to_owned()));
        }
        connection.send(&Frame::Accepted)?;
        connection.flush()?;
        let options = ReceiveOptions {
            archive: request.archive,
            special: request.archive,
            recursive: request.recursive,
            ..ReceiveOptions::default()
        };
        let mut watch = NoWatch;
        match Receiver::new(connection, &mut watch, target, options).run() {
            // It was the answer.
            Err(CopyError::Refused(_)) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    fn sync(
        &self,
        connection: &mut Connection,
        request: &Request,
        paths: &[Vec<u8>],
    ) -> Result<(), CopyError> {
        let Some(path) = paths.first() else {
            return Err(CopyError::Refused("there is no directory".to_owned()));
        };
        let target = Target {
            path: self.resolve(path),
            names: vec![None],
            spared: match request.delete {
                true => vec![self.root.to_owned(), self.home.clone()],
                false => Vec::new(),
            },
            ..Target::default()
        };
        receive_batches(connection, &target, request.dry)
    }
}

/// Receives one batch after the other.
fn receive_batches(
    connection: &mut Connection,
    target: &Target,
    dry: bool,
) -> Result<(), CopyError> {
    target.judge_root(!dry).map_err(CopyError::Refused)?;
    connection.send(&Frame::Accepted)?;
    connection.flush()?;
    let options = ReceiveOptions {
        recursive: true,
        sync: true,
        dry,
        ..ReceiveOptions::default()
    };
    while connection.has_more()? {
        let mut watch = NoWatch;
        match Receiver::new(connection, &mut watch, target.clone(), options).run() {
            // It was the answer, and the rest of the batch is on its way.
            Err(CopyError::Refused(_)) => return Ok(()),
            outcome => drop(outcome?),
        }
    }
    Ok(())
}

fn is_name(name: &OsStr) -> bool {
    let path = crate::RelativePath::new(name.as_bytes());
    path.is_ok_and(|path| !path.is_top() && path.split().0.is_empty())
}

fn require(path: &Path, recursive: bool) -> Result<(), String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() && !recursive => {
            Err(format!("`{shown}` is a directory: add -r"))
        }
        Ok(_) => Ok(()),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("there is no `{shown}`"))
        }
        Err(cause) => Err(format!("`{shown}`: {cause}")),
    }
}

fn read_request(connection: &mut Connection) -> Result<(Request, Vec<Vec<u8>>), CopyError> {
    let mut paths = Vec::new();
    loop {
        match connection.expect()? {
            Frame::Path(path) => {
                let valid = path.len() <= crate::LONGEST_PATH && !path.contains(&0);
                if !valid || paths.len() > MOST_PATHS {
                    let reason =
                        format!("a path is not valid, or there are more than {MOST_PATHS}");
                    return Err(CopyError::Refused(reason));
                }
                paths.push(path);
            }
            Frame::Request(json) => {
                let request = serde_json::from_slice(&json).map_err(|cause| {
                    CopyError::Refused(format!("the request is not understood: {cause}"))
                })?;
                return Ok((request, paths));
            }
            _ => return Err(CopyError::Broken("a frame came before the request")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_home_stays_there_and_keeps_its_spaces() {
        let (home, root) = (Path::new("/home/ada"), Path::new("/"));
        for (text, path) in [
            ("", "/home/ada"),
            ("~", "/home/ada"),
            ("~/", "/home/ada/"),
            ("~//srv", "/home/ada/srv"),
            ("~/ ", "/home/ada/ "),
            ("~/ x", "/home/ada/ x"),
            ("~x", "/home/ada/~x"),
            ("app", "/home/ada/app"),
            ("/srv", "/srv"),
            ("//srv", "/srv"),
        ] {
            let found = resolve(text.as_bytes(), home, root);
            assert_eq!(found, Path::new(path), "{text:?}");
            assert_eq!(
                found.components().count(),
                Path::new(path).components().count()
            );
        }
    }
}
