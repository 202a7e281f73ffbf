//! An append-only file of bounded size: when it is full, it replaces the previous one, and a new
//! one begins.

use std::fs::File;
use std::io::{Result, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// The size at which a log is rotated, in bytes. Only one rotated log is kept, so both together
/// take at most twice as much.
pub(super) const LONGEST: u64 = 8 << 20;

/// An append-only file that is never longer than [`LONGEST`].
#[derive(Debug)]
pub(super) struct BoundedFile {
    path: PathBuf,
    longest: u64,
    file: File,
    length: u64,
}

impl BoundedFile {
    /// Opens the file at `path` for appending, or creates it, for this user only.
    pub(super) fn open(path: PathBuf, longest: u64) -> Result<Self> {
        let file = append_to(&path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            path,
            longest,
            file,
            length,
        })
    }

    fn put_aside(&mut self) -> Result<()> {
        std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
        self.file = append_to(&self.path)?;
        self.length = 0;
        Ok(())
    }
}

fn append_to(path: &std::path::Path) -> Result<File> {
    let mut options = File::options();
    options.create(true).append(true).mode(0o600).open(path)
}

impl Write for BoundedFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let more = bytes.len() as u64;
        if self.length > 0 && self.length + more > self.longest && self.put_aside().is_err() {
            // If it cannot be rotated, new lines are worth more than old ones.
            self.file.set_len(0)?;
            self.length = 0;
        }
        let written = self.file.write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_written_to_for_ever_takes_no_more_than_twice_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bangerd.log");
        std::fs::write(&path, [b'x'; 90]).unwrap();
        let mut log = BoundedFile::open(path.clone(), 100).unwrap();
        for number in 0..50 {
            log.write_all(format!("line {number:04}\n").as_bytes())
                .unwrap();
            let length = |path: &PathBuf| std::fs::metadata(path).map_or(0, |it| it.len());
            assert!(length(&path) <= 100 && length(&path.with_extension("log.1")) <= 100);
        }
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        let text = read(path.with_extension("log.1")) + &read(path);
        assert!(
            text.starts_with("line ") && text.ends_with("line 0049\n"),
            "{text}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_is_bounded_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bangerd.log");
        std::fs::create_dir_all(path.with_extension("log.1").join("in the way")).unwrap();
        let mut log = BoundedFile::open(path.clone(), 100).unwrap();
        for _ in 0..50 {
            log.write_all(b"as long as 16 b\n").unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() <= 100);
    }
}
