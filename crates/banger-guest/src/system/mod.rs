//! The Linux interfaces that both `/init` and the agent use.

pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod enter;
pub(crate) mod host_name;
pub(crate) mod port;
pub(crate) mod raw;
pub(crate) mod replace;
pub(crate) mod resolvers;
pub(crate) mod vsock;
pub(crate) mod wait;
