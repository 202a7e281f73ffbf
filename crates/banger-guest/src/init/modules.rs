//! Loads the kernel modules that the daemon packed, in the order that it chose.

use std::fs::File;

use rustix::io::Errno;
use rustix::system::finit_module;

use crate::failure::{Context as _, Result};

/// Loads them. One that is there already, or built in, is as good as loaded.
pub(crate) fn load(paths: &[String]) -> Result<()> {
    for path in paths {
        let what = || format!("load `{path}`");
        let file = File::open(path).while_doing(what)?;
        match finit_module(&file, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            failed => failed.while_doing(what)?,
        }
    }
    Ok(())
}
