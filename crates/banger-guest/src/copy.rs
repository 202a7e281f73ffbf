//! One copy of `banger vm cp`: a process that reads or writes files as the user, with the daemon's stream as
//! its standard input. Both ends of the stream run the code of the crate `banger-copy`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use banger_copy::Connection;
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use crate::exec::account::Account;
use crate::exec::{leave_agent, take_stream};

/// The argument that selects this role of the program.
pub(crate) const ROLE: &str = "copy-session";

/// Runs the copy on standard input.
pub(crate) fn run() -> ExitCode {
    leave_agent();
    let Ok(stream) = take_stream() else {
        return ExitCode::FAILURE;
    };
    let connection = Connection::new(stream, Vec::new());
    banger_copy::serve(connection, Path::new("/"), become_user);
    ExitCode::SUCCESS
}

/// Becomes the user of this name, or root, and returns the home. This process has one thread, so
/// calls that change a thread change all of it.
fn become_user(name: Option<&str>) -> Result<PathBuf, String> {
    let account = Account::find(name.unwrap_or("root"))?;
    set_thread_groups(&account.groups)
        .and_then(|()| set_thread_gid(account.group))
        .and_then(|()| set_thread_uid(account.user))
        .map_err(|cause| format!("become `{}`: {cause}", account.name))?;
    Ok(PathBuf::from(account.home))
}
