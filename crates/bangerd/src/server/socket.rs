//! The Unix socket: its path and its permissions.
//!
//! Its folder has the mode 0700, and is rejected if others can write to it. The socket has the mode
//! 0600 before it listens, so no other user can connect at any time. The server checks each
//! client's user by `SO_PEERCRED` in addition.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use banger_api::{Code, Error, Result};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The longest path of a socket, in bytes: `sun_path` without its NUL (unix(7)).
pub(crate) const LONGEST_PATH: usize = 107;

/// The length of the queue of clients; the kernel caps it at `net.core.somaxconn`. It is long
/// because a full queue refuses clients.
const BACKLOG: i32 = 4096;

/// The daemon's listening socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    listener: UnixListener,
    identity: (u64, u64),
}

/// Listens at `path`, after removing a socket file that an earlier daemon left behind.
///
/// The caller holds the lock on the state directory, so no other daemon uses it.
///
/// # Errors
/// `invalid` for a path that is too long or writable by others; `conflict` if another daemon
/// answers there, or another file exists there; `host` for the rest.
pub(crate) fn listen(path: &Path) -> Result<Socket> {
    let length = path.as_os_str().len();
    if length > LONGEST_PATH {
        return Err(Error::new(
            Code::Invalid,
            format!(
                "the socket's path has {length} bytes; the kernel's limit is {LONGEST_PATH}: `{}`",
                path.display()
            ),
        )
        .hint("name a shorter one with --socket PATH or BANGER_SOCKET"));
    }
    let folder = path
        .parent()
        .filter(|folder| folder.is_absolute())
        .ok_or_else(|| {
            Error::new(
                Code::Invalid,
                format!("`{}` is not the absolute path of a file", path.display()),
            )
        })?;
    prepare_folder(folder)?;
    make_way(path)?;
    let host = |cause: io::Error| {
        Error::new(Code::Host, format!("listen at `{}`", path.display())).cause(cause.to_string())
    };
    let listener = bind(path).map_err(host)?;
    let identity = identity(&path.symlink_metadata().map_err(host)?);
    Ok(Socket {
        path: path.to_owned(),
        listener,
        identity,
    })
}

fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Creates the folder, or checks that it is suitable.
fn prepare_folder(folder: &Path) -> Result<()> {
    let during = |cause: io::Error| {
        Error::new(
            Code::Host,
            format!("make `{}` for the socket", folder.display()),
        )
        .cause(cause.to_string())
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(during)?;
    let meta = folder.metadata().map_err(during)?;
    let unfit = |what: &str| {
        Err(Error::new(
            Code::Invalid,
            format!(
                "`{}` is not suitable for a socket: {what}",
                folder.display()
            ),
        )
        .hint("name a path in a folder of your own with --socket PATH or BANGER_SOCKET"))
    };
    if meta.uid() != rustix::process::geteuid().as_raw() && meta.uid() != 0 {
        return unfit("it belongs to another user");
    }
    if meta.mode() & 0o022 != 0 {
        return unfit("other users may write there");
    }
    Ok(())
}

/// Removes an earlier daemon's socket at `path`, and nothing else.
fn make_way(path: &Path) -> Result<()> {
    let conflict = |what: &str| {
        Err(
            Error::new(Code::Conflict, format!("{what} `{}`", path.display()))
                .hint("choose another path with --socket PATH or BANGER_SOCKET"),
        )
    };
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => {
            return Err(
                Error::new(Code::Host, format!("examine `{}`", path.display()))
                    .cause(cause.to_string()),
            );
        }
    };
    if !meta.file_type().is_socket() {
        return conflict("a file that is not a socket exists at");
    }
    // A daemon of another state directory may use the same socket.
    if UnixStream::connect(path).is_ok() {
        return conflict("another daemon, with another state directory, answers at");
    }
    std::fs::remove_file(path).map_err(|cause| {
        Error::new(
            Code::Host,
            format!("remove the old socket `{}`", path.display()),
        )
        .cause(cause.to_string())
    })
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // No client connects before `listen`, so the mode applies from the beginning.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

impl Socket {
    /// Its path.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Another handle of the listening socket, for the runtime.
    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }

    /// Whether the file at the path is still this socket: a logout clears the runtime directory.
    pub(super) fn is_there(&self) -> bool {
        self.path
            .symlink_metadata()
            .is_ok_and(|meta| identity(&meta) == self.identity)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another daemon may have put its socket there meanwhile; that one stays.
        if self.is_there() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether a client of user `theirs` may use a daemon of user `ours`.
pub(super) fn is_admitted(theirs: u32, ours: u32) -> bool {
    theirs == ours || theirs == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn the_socket_and_its_folder_are_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/bangerd.sock");
        let socket = listen(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder.path().join("a/b")), 0o700);
        assert_eq!(mode(&folder.path().join("a")), 0o700);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists(), "its file goes with it");
    }

    #[test]
    fn a_stale_socket_makes_way_and_a_live_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let live = listen(&path).unwrap();

        let error = listen(&path).unwrap_err();
        assert_eq!(error.code, Code::Conflict);
        assert!(error.message.starts_with("another daemon"), "{error}");
        UnixStream::connect(live.path()).unwrap();
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, "precious").unwrap();
        let error = listen(&path).unwrap_err();
        assert_eq!(error.code, Code::Conflict);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_path_that_is_too_long_is_rejected_with_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let room = LONGEST_PATH - folder.path().as_os_str().len() - 1;
        listen(&folder.path().join("x".repeat(room))).unwrap();
        let path = folder.path().join("x".repeat(room + 1));
        let error = listen(&path).unwrap_err();
        assert_eq!(error.code, Code::Invalid);
        assert!(
            error
                .message
                .contains("has 108 bytes; the kernel's limit is 107"),
            "{error}"
        );
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for open in [0o777, 0o1777, 0o770] {
            std::fs::set_permissions(folder.path(), Permissions::from_mode(open)).unwrap();
            let error = listen(&folder.path().join("s")).unwrap_err();
            assert_eq!(error.code, Code::Invalid);
            assert!(
                error.message.contains("other users may write there"),
                "{error}"
            );
        }
        assert_eq!(mode(folder.path()), 0o770, "and is not changed");
    }

    #[test]
    fn a_socket_that_another_replaced_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = listen(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!first.is_there());
        let second = listen(&path).unwrap();
        drop(first);
        assert!(second.is_there());
    }

    #[test]
    fn only_the_owner_and_root_are_admitted() {
        assert!(is_admitted(1000, 1000));
        assert!(is_admitted(0, 1000));
        assert!(!is_admitted(1001, 1000));
        assert!(!is_admitted(1000, 0));
    }
}
