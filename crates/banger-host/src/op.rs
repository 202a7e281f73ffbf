//! The closed list of changes.

use serde::{Deserialize, Serialize};

use crate::{FileOp, Instance, RootOp};

/// Whether a change had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The change was applied.
    Made,
    /// Nothing had to change.
    Already,
}

impl std::ops::BitOr for Change {
    type Output = Self;

    /// Whether either change had to be made.
    fn bitor(self, other: Self) -> Self {
        match (self, other) {
            (Self::Already, Self::Already) => Self::Already,
            (Self::Made, _) | (_, Self::Made) => Self::Made,
        }
    }
}

impl std::ops::BitOrAssign for Change {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// Who owns a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The numeric user id.
    pub uid: u32,
    /// The numeric group id.
    pub gid: u32,
}

/// One typed change to a host. It states what is true afterwards, so it is idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A change that needs no privileges beyond the user's own.
    File(FileOp),
    /// A change that only root makes, to an object of this instance.
    Root(Instance, RootOp),
}
