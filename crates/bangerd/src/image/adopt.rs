//! The images of a VM that comes from an archive: its disk becomes a base of its own, and its kernel is
//! kept for it. They have no name, and go with the last VM that uses them.

use std::path::Path;

use banger_host::{FileOp, Host, Op};

use super::catalog::{Catalog, Kernel};
use super::folder::{fresh, is_missing, record};
use super::lease::ImageLease;
use super::source::digest;
use crate::error::{During, Result};
use crate::manifest::{KERNEL, MODULES, ROOT};
use crate::vm::Images;

impl Catalog {
    /// Takes over the files of an archive that lie in the folder `from`, on the same file system. Nobody
    /// else writes them. `unique` is what no other archive had, and `name` what their image was called.
    ///
    /// # Errors
    /// When they cannot be put in place. What is left of them goes with the next prune.
    pub fn adopt(
        &self,
        from: &Path,
        unique: &str,
        name: &str,
        kernel: &Kernel,
        host: &dyn Host,
    ) -> Result<ImageLease> {
        let images = Images {
            name: name.to_owned(),
            root: digest(&["root of an archive", unique]),
            kernel: digest(&["kernel of an archive", unique]),
        };
        let _importing = self.lock();
        let (root, booted) = (
            self.layout.image(&images.root),
            self.layout.image(&images.kernel),
        );
        let link = |name: &str, to| {
            let from = from.join(name);
            host.change(&Op::File(FileOp::LinkFile { from, to }))
                .during("put it in place")
        };
        if is_missing(&root, host)? {
            fresh(&root, host)?;
            link(ROOT, root.root())?;
            record(&root, &serde_json::json!({ "origin": "an archive" }), host)?;
        }
        if is_missing(&booted, host)? {
            fresh(&booted, host)?;
            link(KERNEL, booted.kernel())?;
            link(MODULES, booted.base_archive())?;
            record(&booted, kernel, host)?;
        }
        Ok(self.leases.take(images))
    }
}
