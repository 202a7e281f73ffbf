//! The lifeline of a temporary VM: a connection that carries nothing. The VM lives while one is open.

/// The protocol that the connection is upgraded to.
pub const UPGRADE: &str = "banger-lifeline";
