//! The guest config of one start, assembled by the capabilities.
//!
//! Capabilities do not know each other, so two of them may claim the same thing. The second claim
//! is an error with both names, before anything is changed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use banger_api::{Code, Error};
use banger_guest::config as wire;

use crate::error::Result;

/// A guest config under construction, with the owner of each claim.
#[derive(Debug)]
pub struct GuestConfig {
    wire: wire::GuestConfig,
    claims: BTreeMap<String, &'static str>,
}

impl Default for GuestConfig {
    fn default() -> Self {
        Self {
            wire: wire::GuestConfig::new("", "", ""),
            claims: BTreeMap::new(),
        }
    }
}

impl GuestConfig {
    /// Records the owner of `what`.
    fn claim(&mut self, writer: &'static str, what: &str) -> Result<()> {
        match self.claims.insert(what.to_owned(), writer) {
            None => Ok(()),
            Some(other) => Err(Error::new(
                Code::Internal,
                format!("`{other}` and `{writer}` both write the guest's {what}"),
            )),
        }
    }

    /// The device of the root file system.
    ///
    /// # Errors
    /// Another capability has claimed it.
    pub fn root(&mut self, writer: &'static str, device: &str) -> Result<()> {
        self.claim(writer, "root device")?;
        device.clone_into(&mut self.wire.root.device);
        Ok(())
    }

    /// A disk that grows with its device and is seeded from the image's folder of the same name.
    ///
    /// # Errors
    /// Another capability has claimed the device or the mount point.
    pub fn disk(&mut self, writer: &'static str, device: &str, mount: &str) -> Result<()> {
        self.claim(writer, device)?;
        self.claim(writer, mount)?;
        self.wire.disks.push(wire::Disk {
            device: device.to_owned(),
            mount: mount.to_owned(),
            seed: true,
            grow: true,
        });
        Ok(())
    }

    /// The one interface; a prefix of 32 has its gateway on-link.
    ///
    /// # Errors
    /// Another capability has claimed it.
    pub fn network(
        &mut self,
        writer: &'static str,
        interface: &str,
        address: Ipv4Addr,
        prefix: u8,
        gateway: Ipv4Addr,
        mtu: u32,
    ) -> Result<()> {
        self.claim(writer, "network")?;
        self.wire.network = Some(wire::Network {
            interface: interface.to_owned(),
            address,
            prefix,
            gateway,
            on_link_gateway: prefix == 32,
            mtu: Some(mtu),
        });
        Ok(())
    }

    /// The resolvers at boot.
    ///
    /// # Errors
    /// Another capability has claimed them.
    pub fn resolvers(&mut self, writer: &'static str, resolvers: &[IpAddr]) -> Result<()> {
        self.claim(writer, "resolvers")?;
        self.wire.dns.servers = resolvers.to_vec();
        Ok(())
    }

    /// The host name, which the guest's own address resolves to.
    ///
    /// # Errors
    /// Another capability has claimed it.
    pub fn host_name(
        &mut self,
        writer: &'static str,
        hostname: &str,
        former: Vec<String>,
        own_address: IpAddr,
    ) -> Result<()> {
        self.claim(writer, "host name")?;
        hostname.clone_into(&mut self.wire.hostname);
        self.wire.former_hostnames = former;
        // On one line: the first name of the line is the canonical one.
        self.wire.hosts.push(wire::HostsLine {
            address: own_address,
            names: vec![format!("{hostname}.vm"), hostname.to_owned()],
        });
        Ok(())
    }

    /// The machine-id, which the guest writes if its disk has none, or one of `former`.
    ///
    /// # Errors
    /// Another capability has claimed it.
    pub fn machine_id(&mut self, writer: &'static str, id: &str, former: &[String]) -> Result<()> {
        self.claim(writer, "machine-id")?;
        id.clone_into(&mut self.wire.machine_id);
        self.wire.former_machine_ids = former.to_vec();
        Ok(())
    }

    /// A file that banger writes at each start: below `/run`, or a drop-in.
    ///
    /// # Errors
    /// Another capability has claimed the path.
    pub fn file(&mut self, writer: &'static str, path: &str, mode: u32, text: &str) -> Result<()> {
        self.claim(writer, path)?;
        self.wire.files.push(wire::File {
            path: path.to_owned(),
            mode,
            uid: 0,
            gid: 0,
            content: wire::Content::Text(text.to_owned()),
        });
        Ok(())
    }

    /// The serialized config.
    ///
    /// # Errors
    /// A value is invalid.
    pub fn finish(
        mut self,
        modules: Vec<String>,
        now: std::time::Duration,
        rescue: bool,
    ) -> Result<wire::GuestConfig> {
        self.wire.modules = modules;
        self.wire.clock_unix_nanos = u64::try_from(now.as_nanos()).ok();
        self.wire.rescue = rescue;
        self.wire.validate().map_err(|cause| {
            Error::new(Code::Internal, "render the guest config").cause(cause.to_string())
        })?;
        Ok(self.wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_writers_of_one_path_are_refused_with_both_names() {
        let mut guest = GuestConfig::default();
        guest.file("SSH", "/run/banger/key", 0o600, "x").unwrap();
        let error = guest
            .file("identity", "/run/banger/key", 0o600, "y")
            .unwrap_err();
        assert_eq!(
            error.message,
            "`SSH` and `identity` both write the guest's /run/banger/key"
        );
    }

    #[test]
    fn the_full_name_is_the_canonical_one_of_a_single_hosts_line() {
        let mut guest = GuestConfig::default();
        let own = IpAddr::V4(Ipv4Addr::new(10, 215, 0, 2));
        guest.host_name("identity", "web", Vec::new(), own).unwrap();
        let names: Vec<_> = guest.wire.hosts.iter().map(|it| &it.names).collect();
        assert_eq!(names, [&["web.vm", "web"]]);
    }

    #[test]
    fn two_disks_at_one_place_are_refused() {
        let mut guest = GuestConfig::default();
        guest.disk("work disk", "/dev/vdb", "/root").unwrap();
        assert!(guest.disk("other", "/dev/vdc", "/root").is_err());
    }
}
