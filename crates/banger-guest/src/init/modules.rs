//! Loads the kernel modules of the guest config, in its order.

use std::fs::File;

use rustix::io::Errno;
use rustix::system::finit_module;

use crate::failure::{Context as _, Result};

/// Loads the modules. One that is loaded already, or built in, is not an error.
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
