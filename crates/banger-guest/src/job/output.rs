//! The output of a job, in a folder of bounded size.
//!
//! The folder has segments, files whose names are numbers. Each begins with the number of bytes of
//! output before it, and continues with frames, so that standard output and standard error stay
//! distinct. The oldest segment is removed when a new one is needed. Each reader has its own
//! position: a slow one learns how much it missed, and delays nobody.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use banger_guest::streams::{ExecFrame, ExecReader, KEPT_OUTPUT};

use crate::system::replace::make_directory;

/// The maximum number of segments, and their size, in bytes.
const SEGMENTS: usize = 4;
const SEGMENT: u64 = KEPT_OUTPUT / SEGMENTS as u64;

/// The number of bytes that a reader takes from a segment at once.
const PIECE: usize = 16 << 10;

/// The writer's side.
#[derive(Debug)]
pub(crate) struct Output {
    folder: PathBuf,
    /// The current segment and its length; `None` before the first one, and after a failure.
    current: Option<(File, u64)>,
    /// The numbers of the segments, in order.
    numbers: Vec<u64>,
    /// The total number of bytes of output so far.
    written: u64,
}

impl Output {
    /// The output of a new job, in a new folder.
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        make_directory(&folder, 0o700)?;
        Ok(Self {
            folder,
            current: None,
            numbers: Vec::new(),
            written: 0,
        })
    }

    /// The total number of bytes of output so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The number of the newest segment.
    pub(crate) fn newest(&self) -> u64 {
        self.numbers.last().copied().unwrap_or(0)
    }

    /// Stores a frame of output. If memory is full, the frame counts as dropped.
    pub(crate) fn append(&mut self, frame: &ExecFrame) {
        let bytes = frame.encode();
        let is_full = |length: u64| length + bytes.len() as u64 > SEGMENT;
        if self.current.as_ref().is_none_or(|it| is_full(it.1)) {
            self.current = self.begin_segment().ok();
        }
        self.written += payload(frame);
        let Some((file, length)) = &mut self.current else {
            return;
        };
        if file.write_all(&bytes).is_ok() {
            *length += bytes.len() as u64;
        } else {
            // Readers detect the gap by the number in the next segment.
            let _ = file.set_len(*length);
            self.current = None;
        }
    }

    fn begin_segment(&mut self) -> io::Result<(File, u64)> {
        let most = if is_short_of_room(&self.folder) {
            1
        } else {
            SEGMENTS - 1
        };
        while self.numbers.len() > most {
            let oldest = self.numbers.remove(0);
            fs::remove_file(segment(&self.folder, oldest))?;
        }
        let number = self.newest() + 1;
        let mut file = File::create_new(segment(&self.folder, number))?;
        self.numbers.push(number);
        let head = self.written.to_be_bytes();
        file.write_all(&head)?;
        Ok((file, head.len() as u64))
    }
}

/// Whether less than a quarter of the file system, the guest's `/run`, is free.
fn is_short_of_room(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|it| it.f_bavail < it.f_blocks / 4)
}

fn segment(folder: &Path, number: u64) -> PathBuf {
    folder.join(number.to_string())
}

fn payload(frame: &ExecFrame) -> u64 {
    match frame {
        ExecFrame::Stdout(bytes) | ExecFrame::Stderr(bytes) => bytes.len() as u64,
        _ => 0,
    }
}

/// The numbers of the segments in a folder, in order.
fn numbers(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u64> = names.collect();
    numbers.sort_unstable();
    numbers
}

/// The number of the newest segment in a folder without a writer.
pub(crate) fn newest(folder: &Path) -> u64 {
    numbers(folder).last().copied().unwrap_or(0)
}

/// A reader's position.
#[derive(Debug)]
pub(crate) struct Cursor {
    folder: PathBuf,
    /// The number of the segment that is read, or the lowest one to read next.
    number: u64,
    file: Option<File>,
    reader: ExecReader,
    /// The bytes of output before this position.
    read: u64,
}

impl Cursor {
    /// The position before all output.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            number: 0,
            file: None,
            reader: ExecReader::default(),
            read: 0,
        }
    }

    /// The bytes of output before this position.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Counts this many bytes as read.
    pub(crate) fn skip(&mut self, count: u64) {
        self.read += count;
    }

    /// The next frame of output, or the number of bytes that are missing; `newest` is the number of
    /// the newest segment. `None` at the end of the output.
    pub(crate) fn next(&mut self, newest: u64) -> io::Result<Option<ExecFrame>> {
        loop {
            // An incomplete frame of a supervisor that was killed is not returned.
            if let Ok(Some(frame)) = self.reader.next_frame() {
                self.read += payload(&frame);
                return Ok(Some(frame));
            }
            let Some(file) = &mut self.file else {
                match self.open_next()? {
                    Some(0) => continue,
                    Some(dropped) => return Ok(Some(ExecFrame::Dropped(dropped))),
                    None => return Ok(None),
                }
            };
            let mut bytes = [0; PIECE];
            match file.read(&mut bytes)? {
                0 if self.number < newest => {
                    self.file = None;
                    self.number += 1;
                    self.reader = ExecReader::default();
                }
                0 => return Ok(None),
                count => self.reader.push(&bytes[..count]),
            }
        }
    }

    /// Opens the next segment; returns the number of missing bytes before it.
    fn open_next(&mut self) -> io::Result<Option<u64>> {
        let mut numbers = numbers(&self.folder).into_iter();
        let Some(number) = numbers.find(|number| *number >= self.number) else {
            return Ok(None);
        };
        let mut file = File::open(segment(&self.folder, number))?;
        let mut head = [0; 8];
        file.read_exact(&mut head)?;
        let before = u64::from_be_bytes(head);
        let dropped = before.saturating_sub(self.read);
        self.read = self.read.max(before);
        self.number = number;
        self.file = Some(file);
        Ok(Some(dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(cursor: &mut Cursor, newest: u64) -> (Vec<u8>, Vec<u8>, u64) {
        let (mut out, mut err, mut dropped) = (Vec::new(), Vec::new(), 0);
        while let Some(frame) = cursor.next(newest).unwrap() {
            match frame {
                ExecFrame::Stdout(bytes) => out.extend(bytes),
                ExecFrame::Stderr(bytes) => err.extend(bytes),
                ExecFrame::Dropped(bytes) => dropped += bytes,
                other => panic!("{other:?}"),
            }
        }
        (out, err, dropped)
    }

    #[test]
    fn both_streams_come_back_and_a_reader_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::new(folder.path().join("output")).unwrap();
        let mut cursor = Cursor::new(folder.path().join("output"));
        assert_eq!(cursor.next(output.newest()).unwrap(), None);
        output.append(&ExecFrame::Stdout(b"a".to_vec()));
        output.append(&ExecFrame::Stderr(b"e".to_vec()));
        let (out, err, dropped) = all(&mut cursor, output.newest());
        assert_eq!((&*out, &*err, dropped), (&b"a"[..], &b"e"[..], 0));
        output.append(&ExecFrame::Stdout(b"b".to_vec()));
        assert_eq!(all(&mut cursor, output.newest()).0, b"b");
        assert_eq!(cursor.read(), output.written());
    }

    #[test]
    fn a_torn_frame_at_the_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::new(folder.path().to_owned()).unwrap();
        output.append(&ExecFrame::Stdout(b"whole".to_vec()));
        let torn = &ExecFrame::Stdout(b"torn".to_vec()).encode()[..7];
        let mut file = File::options()
            .append(true)
            .open(segment(folder.path(), 1))
            .unwrap();
        file.write_all(torn).unwrap();
        let mut cursor = Cursor::new(folder.path().to_owned());
        assert_eq!(all(&mut cursor, newest(folder.path())).0, b"whole");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// For any output, its end is readable, as much as is kept, and the rest is counted.
        #[test]
        fn the_latest_output_is_kept(
            sizes in proptest::collection::vec(1_usize..40_000, 1..120),
            reads in proptest::collection::vec(any::<bool>(), 120),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut output = Output::new(folder.path().to_owned()).unwrap();
            let mut live = Cursor::new(folder.path().to_owned());
            let (mut written, mut seen) = (Vec::new(), 0);
            for (index, size) in sizes.iter().enumerate() {
                let bytes = vec![u8::try_from(index).unwrap(); *size];
                output.append(&ExecFrame::Stdout(bytes.clone()));
                written.extend(bytes);
                if reads[index] {
                    let (out, _, dropped) = all(&mut live, output.newest());
                    seen += out.len() as u64 + dropped;
                    prop_assert!(written.ends_with(&out));
                    prop_assert_eq!(seen, written.len() as u64);
                }
            }
            let mut late = Cursor::new(folder.path().to_owned());
            let (out, _, dropped) = all(&mut late, newest(folder.path()));
            prop_assert!(written.ends_with(&out));
            prop_assert_eq!(out.len() as u64 + dropped, written.len() as u64);
            prop_assert!(out.len() as u64 <= KEPT_OUTPUT);
            // A file system that is nearly full keeps less.
            let is_short = is_short_of_room(folder.path());
            let least = if is_short { SEGMENT * 3 / 4 } else { KEPT_OUTPUT / 2 };
            prop_assert!(out.len() as u64 >= least.min(written.len() as u64), "{}", out.len());
        }
    }
}
