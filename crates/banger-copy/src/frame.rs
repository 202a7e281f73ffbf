//! What crosses the stream: frames of a kind, a length and a payload.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | the kind |
//! | 4 | the length of the payload, big-endian, at most [`LONGEST_FRAME`] |
//! | … | the payload |
//!
//! Numbers are big-endian. A path has its length, two bytes, before it, unless it is last.

use rustix::fs::Stat;

use crate::listing::{ListEnd, ListedEntry};
use crate::path::{LONGEST_PATH, RelativePath};

/// The longest payload, in bytes.
pub const LONGEST_FRAME: usize = 256 << 10;

/// What a file has beside its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta {
    /// The permissions, with the special bits.
    pub mode: u32,
    /// When it was changed last, in seconds since 1970.
    pub seconds: i64,
    /// The nanoseconds of that, below 1,000,000,000.
    pub nanos: u32,
    /// The owner's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
}

impl From<&Stat> for Meta {
    fn from(stat: &Stat) -> Self {
        Self {
            mode: stat.st_mode & 0o7777,
            seconds: stat.st_mtime,
            nanos: u32::try_from(stat.st_mtime_nsec)
                .unwrap_or(0)
                .min(999_999_999),
            user: stat.st_uid,
            group: stat.st_gid,
        }
    }
}

/// What there is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file of so many bytes; data and an end follow.
    File {
        /// The size that it had when it was opened, in bytes.
        size: u64,
        /// A hard link to it may follow.
        linkable: bool,
        /// The sender asks what part of it is there already.
        resumable: bool,
    },
    /// A symbolic link to this target.
    Symlink {
        /// The target, 1 to 4095 bytes.
        target: Vec<u8>,
    },
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The path, below the source.
    pub path: RelativePath,
    /// Its permissions, time and owner.
    pub meta: Meta,
    /// What it is.
    pub node: Node,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A path of the request, as the user wrote it.
    Path(Vec<u8>),
    /// The request, as JSON: [`crate::Request`].
    Request(Vec<u8>),
    /// The copy begins.
    Accepted,
    /// It does not, for this reason.
    Refusal(String),
    /// The entries of the source with this number follow.
    Source(u32),
    /// All sources together: files, and their bytes.
    Total(u64, u64),
    /// Something at a path.
    Entry(Head),
    /// Bytes of the file that was begun last, at an offset that never decreases.
    Data(u64, Vec<u8>),
    /// The file ends; its size.
    FileEnd(u64),
    /// The file could not be read to its end: nothing of it shall remain.
    FileGone,
    /// A directory has no more entries.
    Leave(RelativePath),
    /// A further name of a file that came before: its path, and the source and path of that file.
    HardLink(RelativePath, u32, RelativePath),
    /// So many bytes of the file are here, with this SHA-256.
    Have(u64, [u8; 32]),
    /// Data begins at this offset: 0, or the one of [`Frame::Have`].
    From(u64),
    /// The sender has sent all: its report, as JSON.
    End(Vec<u8>),
    /// The receiver's report, as JSON; nothing follows.
    Answer(Vec<u8>),
    /// Asks what is in a directory of the receiver.
    List(RelativePath),
    /// Some of that.
    Listed(Vec<ListedEntry>),
    /// The end of that.
    ListEnd(ListEnd),
    /// An entry of the receiver goes; a directory, if it is empty.
    Remove(RelativePath),
    /// A file or directory of the receiver gets these permissions and this time.
    Touch(RelativePath, Meta),
    /// Asks for [`Frame::Have`] of a file of the receiver; without a file, its number is the largest one.
    Digest(RelativePath),
}

impl Frame {
    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; 5]);
        let kind = self.write(out);
        let length = u32::try_from(out.len() - start - 5).unwrap_or(u32::MAX);
        out[start] = kind;
        out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    }

    fn write(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::Path(bytes) => bytes_of(out, 1, bytes),
            Self::Request(json) => bytes_of(out, 2, json),
            Self::Accepted => 3,
            Self::Refusal(words) => bytes_of(out, 4, words.as_bytes()),
            Self::Source(number) => bytes_of(out, 5, &number.to_be_bytes()),
            Self::Total(files, bytes) => {
                bytes_of(out, 6, &[files.to_be_bytes(), bytes.to_be_bytes()].concat())
            }
            Self::Entry(head) => {
                head.write(out);
                7
            }
            Self::Data(offset, bytes) => {
                out.extend(offset.to_be_bytes());
                bytes_of(out, 8, bytes)
            }
            Self::FileEnd(size) => bytes_of(out, 9, &size.to_be_bytes()),
            Self::FileGone => 10,
            Self::Leave(path) => bytes_of(out, 11, path.as_bytes()),
            Self::HardLink(path, source, to) => {
                short(out, path.as_bytes());
                out.extend(source.to_be_bytes());
                bytes_of(out, 12, to.as_bytes())
            }
            Self::Have(offset, digest) => {
                out.extend(offset.to_be_bytes());
                bytes_of(out, 13, digest)
            }
            Self::From(offset) => bytes_of(out, 14, &offset.to_be_bytes()),
            Self::End(json) => bytes_of(out, 15, json),
            Self::Answer(json) => bytes_of(out, 16, json),
            Self::List(path) => bytes_of(out, 17, path.as_bytes()),
            Self::Listed(entries) => {
                entries.iter().for_each(|entry| entry.write(out));
                18
            }
            Self::ListEnd(end) => {
                end.write(out);
                19
            }
            Self::Remove(path) => bytes_of(out, 20, path.as_bytes()),
            Self::Touch(path, meta) => {
                meta.write(out);
                bytes_of(out, 21, path.as_bytes())
            }
            Self::Digest(path) => bytes_of(out, 22, path.as_bytes()),
        }
    }

    /// The frame of this kind and payload, if they are one.
    #[must_use]
    pub fn decode(kind: u8, payload: &[u8]) -> Option<Self> {
        let mut rest = Rest(payload);
        let frame = match kind {
            1 => Self::Path(rest.all()),
            2 => Self::Request(rest.all()),
            3 => Self::Accepted,
            4 => Self::Refusal(String::from_utf8_lossy(&rest.all()).into_owned()),
            5 => Self::Source(rest.u32()?),
            6 => Self::Total(rest.u64()?, rest.u64()?),
            7 => Self::Entry(Head::read(&mut rest)?),
            8 => Self::Data(rest.u64()?, rest.all()),
            9 => Self::FileEnd(rest.u64()?),
            10 => Self::FileGone,
            11 => Self::Leave(rest.path()?),
            12 => Self::HardLink(rest.short_path()?, rest.u32()?, rest.path()?),
            13 => Self::Have(rest.u64()?, rest.array()?),
            14 => Self::From(rest.u64()?),
            15 => Self::End(rest.all()),
            16 => Self::Answer(rest.all()),
            17 => Self::List(rest.path()?),
            18 => Self::Listed(ListedEntry::read_all(&mut rest)?),
            19 => Self::ListEnd(ListEnd::read(&mut rest)?),
            20 => Self::Remove(rest.path()?),
            21 => {
                let meta = Meta::read(&mut rest)?;
                Self::Touch(rest.path()?, meta)
            }
            22 => Self::Digest(rest.path()?),
            _ => return None,
        };
        rest.0.is_empty().then_some(frame)
    }
}

fn bytes_of(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) -> u8 {
    out.extend_from_slice(bytes);
    kind
}

/// Writes bytes with their length before them.
pub(crate) fn short(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

impl Meta {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.mode.to_be_bytes());
        out.extend(self.seconds.to_be_bytes());
        for number in [self.nanos, self.user, self.group] {
            out.extend(number.to_be_bytes());
        }
    }

    pub(crate) fn read(rest: &mut Rest<'_>) -> Option<Self> {
        Some(Self {
            mode: rest.u32()?,
            seconds: i64::from_be_bytes(rest.array()?),
            nanos: rest.u32().filter(|nanos| *nanos < 1_000_000_000)?,
            user: rest.u32()?,
            group: rest.u32()?,
        })
    }
}

impl Head {
    fn write(&self, out: &mut Vec<u8>) {
        self.meta.write(out);
        short(out, self.path.as_bytes());
        match &self.node {
            Node::Directory => out.push(0),
            Node::File {
                size,
                linkable,
                resumable,
            } => {
                out.push(1 | u8::from(*linkable) << 4 | u8::from(*resumable) << 5);
                out.extend(size.to_be_bytes());
            }
            Node::Symlink { target } => {
                out.push(2);
                out.extend_from_slice(target);
            }
        }
    }

    fn read(rest: &mut Rest<'_>) -> Option<Self> {
        let meta = Meta::read(rest)?;
        let path = rest.short_path()?;
        let node = match rest.u8()? {
            0 => Node::Directory,
            2 => Node::Symlink {
                target: rest.target()?,
            },
            flags if flags & 0xcf == 1 => Node::File {
                size: rest.u64()?,
                linkable: flags & 0x10 != 0,
                resumable: flags & 0x20 != 0,
            },
            _ => return None,
        };
        Some(Self { path, meta, node })
    }
}

/// What has not been read of a payload.
pub(crate) struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn all(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }

    fn path(&mut self) -> Option<RelativePath> {
        RelativePath::new(self.all()).ok()
    }

    pub(crate) fn short_bytes(&mut self) -> Option<Vec<u8>> {
        let length = u16::from_be_bytes(self.array()?);
        let (bytes, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        Some(bytes.to_vec())
    }

    pub(crate) fn short_path(&mut self) -> Option<RelativePath> {
        RelativePath::new(self.short_bytes()?).ok()
    }

    fn target(&mut self) -> Option<Vec<u8>> {
        let target = self.all();
        let valid = (1..=LONGEST_PATH).contains(&target.len()) && !target.contains(&0);
        valid.then_some(target)
    }
}
