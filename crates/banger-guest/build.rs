//! Gives each build of these sources a mark, for [`BUILD`](src/lib.rs).

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The sources of copies, which the guest runs as well.
const COPY: &str = "../banger-copy/src";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed={COPY}");
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files)?;
    collect(Path::new(COPY), &mut files)?;
    files.sort();
    let mut hash = FNV_OFFSET;
    for path in files {
        hash = fnv(hash, path.as_os_str().as_encoded_bytes());
        hash = fnv(hash, &fs::read(&path)?);
    }
    println!("cargo:rustc-env=BANGER_GUEST_BUILD={hash:016x}");
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits: <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>. The mark
/// distinguishes builds; it is not a protection.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().chain(&[0]).fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
