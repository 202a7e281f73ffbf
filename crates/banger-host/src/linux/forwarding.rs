//! Settings of one interface below `/proc/sys/net`.

use std::fs;
use std::path::PathBuf;

use super::context::During as _;
use super::files::absent;
use crate::{Change, Error, Kind, Result};

/// A setting of an interface.
#[derive(Debug, Clone, Copy)]
pub(super) enum Setting<'a> {
    /// It forwards IPv4 packets that arrive on it.
    Forwarding(&'a str),
    /// It has no IPv6; a kernel without IPv6 has no such setting.
    NoIpv6(&'a str),
}

impl Setting<'_> {
    fn path(self) -> Result<PathBuf> {
        let (name, family, file) = match self {
            Self::Forwarding(name) => (name, "ipv4", "forwarding"),
            Self::NoIpv6(name) => (name, "ipv6", "disable_ipv6"),
        };
        // Linux allows dots, which are no separators in this path; slashes it does not allow.
        let names_one = (1..=15).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/')
            && ![".", "..", "all", "default"].contains(&name);
        if !names_one {
            return Err(Error::new(
                Kind::Other,
                format!("`{name}` is not the name of an interface"),
            ));
        }
        Ok(PathBuf::from(format!(
            "/proc/sys/net/{family}/conf/{name}/{file}"
        )))
    }
}

/// Whether the setting is on, or `None` where there is no such interface or setting.
pub(super) fn get(setting: Setting<'_>) -> Result<Option<bool>> {
    let path = setting.path()?;
    let text = absent(fs::read_to_string(&path)).during(|| format!("read `{}`", path.display()))?;
    Ok(text.map(|text| text.trim() != "0"))
}

/// Whether forwarding is on for the host as a whole (`net.ipv4.ip_forward`).
pub(super) fn of_all() -> Result<bool> {
    let path = "/proc/sys/net/ipv4/conf/all/forwarding";
    let text = fs::read_to_string(path).during(|| format!("read `{path}`"))?;
    Ok(text.trim() != "0")
}

/// Sets it. Where there is no interface, being off is so already.
pub(super) fn set(setting: &Setting<'_>, on: bool) -> Result<Change> {
    let path = setting.path()?;
    match get(*setting)? {
        Some(now) if now == on => return Ok(Change::Already),
        Some(_) => {}
        None => {
            return match setting {
                Setting::NoIpv6(_) => Ok(Change::Already),
                Setting::Forwarding(_) if !on => Ok(Change::Already),
                Setting::Forwarding(name) => Err(Error::new(
                    Kind::Missing,
                    format!("there is no interface `{name}`"),
                )),
            };
        }
    }
    let value = if on { "1" } else { "0" };
    fs::write(&path, value).during(|| format!("write {value} to `{}`", path.display()))?;
    Ok(Change::Made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_or_of_all_interfaces_is_refused() {
        for name in [
            "",
            "..",
            "all",
            "default",
            "eth0/../all",
            "a name",
            "longer-than-linux-takes",
        ] {
            assert!(get(Setting::Forwarding(name)).is_err(), "{name}");
            assert!(set(&Setting::Forwarding(name), true).is_err(), "{name}");
        }
    }

    #[test]
    fn an_interface_that_is_not_there_does_not_forward() {
        assert_eq!(get(Setting::Forwarding("nosuch0")).unwrap(), None);
        assert_eq!(
            set(&Setting::Forwarding("nosuch0"), false).unwrap(),
            Change::Already
        );
        let error = set(&Setting::Forwarding("nosuch0"), true).unwrap_err();
        assert_eq!(error.kind(), Kind::Missing);
    }
}
