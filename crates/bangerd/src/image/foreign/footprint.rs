//! What a tree takes in an ext4 file system.

use std::collections::BTreeSet;

use super::tree::{Kind, Tree};

/// The length of a block, in bytes.
const BLOCK: u64 = 4096;

/// What a name takes in its directory beside its letters, in bytes.
const ENTRY: u64 = 12;

/// The blocks and inodes of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// The blocks, in bytes.
    pub bytes: u64,
    /// The inodes.
    pub inodes: u64,
}

impl Footprint {
    /// The footprint of this tree. Every file takes a block at least; further names of a file take
    /// none.
    pub(super) fn of(tree: &Tree) -> Self {
        let mut places = BTreeSet::new();
        let (mut bytes, mut inodes) = (0_u64, 0);
        for (path, node) in &tree.nodes {
            bytes += ENTRY + path.file_name().map_or(0, |it| it.len() as u64);
            let length = match node.kind {
                Kind::File { place, .. } if !places.insert(place) => continue,
                Kind::File { size, .. } => size,
                _ => 0,
            };
            let attributes = if node.attributes.is_empty() { 0 } else { BLOCK };
            bytes = bytes.saturating_add(length.max(1).next_multiple_of(BLOCK) + attributes);
            inodes += 1;
        }
        Self { bytes, inodes }
    }
}
