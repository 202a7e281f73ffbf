//! What a directory of the receiver has, as it tells a sender that asks.

use crate::frame::{Meta, Rest, short};
use crate::path::LONGEST_PATH;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// Its name, which is a plain one.
    pub name: Vec<u8>,
    /// Its permissions, time and owner.
    pub meta: Meta,
    /// What it is.
    pub node: ListedNode,
}

/// What an entry of a directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedNode {
    /// A directory.
    Directory,
    /// A file of so many bytes.
    File(u64),
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// Anything else.
    Other,
}

/// How a list ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEnd {
    /// That was all.
    Whole,
    /// Nothing is there, or no directory.
    Absent,
    /// The directory cannot be read, for this reason.
    Failed(String),
}

impl ListedEntry {
    /// Appends its bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.meta.write(out);
        short(out, &self.name);
        match &self.node {
            ListedNode::Directory => out.push(0),
            ListedNode::File(size) => {
                out.push(1);
                out.extend(size.to_be_bytes());
            }
            ListedNode::Symlink(target) => {
                out.push(2);
                short(out, target);
            }
            ListedNode::Other => out.push(3),
        }
    }

    /// Reads as many as there are; nothing if one of them is none.
    pub(crate) fn read_all(rest: &mut Rest<'_>) -> Option<Vec<Self>> {
        let mut all = Vec::new();
        while !rest.is_empty() {
            all.push(Self::read(rest)?);
        }
        Some(all)
    }

    fn read(rest: &mut Rest<'_>) -> Option<Self> {
        let meta = Meta::read(rest)?;
        let name = rest.short_path()?;
        if name.is_top() || !name.split().0.is_empty() {
            return None;
        }
        let node = match rest.u8()? {
            0 => ListedNode::Directory,
            1 => ListedNode::File(rest.u64()?),
            2 => {
                let target = rest.short_bytes()?;
                (target.len() <= LONGEST_PATH).then_some(ListedNode::Symlink(target))?
            }
            3 => ListedNode::Other,
            _ => return None,
        };
        Some(Self {
            name: name.as_bytes().to_vec(),
            meta,
            node,
        })
    }
}

impl ListEnd {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole => out.push(0),
            Self::Absent => out.push(1),
            Self::Failed(words) => {
                out.push(2);
                out.extend_from_slice(words.as_bytes());
            }
        }
    }

    pub(crate) fn read(rest: &mut Rest<'_>) -> Option<Self> {
        match rest.u8()? {
            0 => Some(Self::Whole),
            1 => Some(Self::Absent),
            2 => Some(Self::Failed(
                String::from_utf8_lossy(&rest.all()).into_owned(),
            )),
            _ => None,
        }
    }
}
