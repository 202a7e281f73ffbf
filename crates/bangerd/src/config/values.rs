//! The types of values, and the messages about invalid ones.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use banger_api::{ImageName, Mib};
use banger_host::Subnet;
use toml::de::DeValue;

use crate::download::Address;
use crate::image::recipe::Mirrors;

/// Describes the value, for a message about the expected type.
pub(super) fn is(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.is_empty() => "is empty".to_owned(),
        DeValue::String(text) => {
            format!("is {:?}", text.chars().take(60).collect::<String>())
        }
        DeValue::Integer(number) => format!(
            "is {}",
            integer(number).map_or_else(
                || "a number that is far too large".to_owned(),
                |number| number.to_string(),
            )
        ),
        DeValue::Float(_) => "is a number with a fraction".to_owned(),
        DeValue::Boolean(truth) => format!("is {truth}"),
        DeValue::Datetime(_) => "is a date or time".to_owned(),
        DeValue::Array(_) => "is a list".to_owned(),
        DeValue::Table(_) => "is a table".to_owned(),
    }
}

fn integer(number: &toml::de::DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

pub(super) fn number(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, String> {
    let found = value
        .as_integer()
        .and_then(integer)
        .ok_or_else(|| is(value))?;
    u64::try_from(found)
        .ok()
        .filter(|found| (least..=most).contains(found))
        .ok_or_else(|| is(value))
}

pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    let text = value.as_str().ok_or_else(|| is(value))?;
    if text.chars().any(char::is_control) {
        return Err("has control characters".to_owned());
    }
    Ok(text)
}

pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    let path = PathBuf::from(text(value)?);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(is(value))
    }
}

pub(super) fn size(value: &DeValue<'_>, least: u64) -> Result<Mib, String> {
    let size: Mib = match value {
        DeValue::String(text) => text.parse(),
        DeValue::Integer(number) => integer(number)
            .ok_or_else(|| is(value))?
            .to_string()
            .parse(),
        DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => return Err(is(value)),
    }
    .map_err(|_| is(value))?;
    if size.0 < least {
        Err(is(value))
    } else {
        Ok(size)
    }
}

pub(super) fn image(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    match name.parse::<ImageName>() {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(is(value)),
    }
}

/// A table, or where there is only text, items such as `npm=ADDRESS`.
pub(super) fn mirrors(value: &DeValue<'_>) -> Result<Mirrors, String> {
    let mut found = Mirrors::default();
    let mut put = |name: &str, address: &str| {
        Address::parse(address, Path::new("/"))
            .map_err(|error| format!("has an address that is wrong: {}", error.message))?;
        if !["http://", "https://", "file:///"]
            .iter()
            .any(|it| address.starts_with(it))
        {
            return Err(format!("has {address:?}, which is not an address"));
        }
        let place = match name {
            "debian" => &mut found.debian,
            "debian-security" => &mut found.debian_security,
            "npm" => &mut found.npm,
            "git" => &mut found.git,
            "docker" => &mut found.docker,
            _ => return Err(format!("has {name:?}")),
        };
        *place = Some(address.to_owned());
        Ok(())
    };
    match value {
        DeValue::Table(table) => {
            for (name, address) in table {
                put(name.get_ref(), text(address.get_ref())?)?;
            }
        }
        DeValue::Array(items) => {
            for item in items {
                let item = text(item.get_ref())?;
                let (name, address) = item.split_once('=').ok_or_else(|| is(value))?;
                put(name.trim(), address.trim())?;
            }
        }
        _ => return Err(is(value)),
    }
    Ok(found)
}

pub(super) fn resolvers(value: &DeValue<'_>) -> Result<Vec<IpAddr>, String> {
    let list = value.as_array().ok_or_else(|| is(value))?;
    // resolv.conf(5) allows three.
    if list.len() > 3 {
        return Err(format!("has {} addresses", list.len()));
    }
    list.iter()
        .map(|item| {
            let within = |found: String| format!("has an item that {found}");
            let address: Ipv4Addr = text(item.get_ref())
                .map_err(within)?
                .parse()
                .map_err(|_| within(is(item.get_ref())))?;
            let useless = address.is_unspecified() || address.is_loopback();
            if useless || address.is_multicast() || address.is_broadcast() {
                return Err(format!("has {address}, where no guest finds a resolver"));
            }
            Ok(address.into())
        })
        .collect()
}

pub(super) fn subnet(text: &str) -> Result<Subnet, String> {
    let is = || format!("is {text:?}");
    let (network, prefix) = text.split_once('/').ok_or_else(is)?;
    let network: Ipv4Addr = network.parse().map_err(|_| is())?;
    let prefix: u8 = prefix.parse().map_err(|_| is())?;
    if !(8..=29).contains(&prefix) {
        return Err(is());
    }
    let exact = Ipv4Addr::from(u32::from(network) & (u32::MAX << (32 - u32::from(prefix))));
    if exact != network {
        return Err(format!(
            "is {text:?}, which begins at {exact}: write \"{exact}/{prefix}\""
        ));
    }
    let subnet = Subnet { network, prefix };
    for (other, length, what) in [
        ([0, 0, 0, 0], 8, "this network"),
        ([127, 0, 0, 0], 8, "loopback"),
        ([169, 254, 0, 0], 16, "link-local addresses"),
        ([224, 0, 0, 0], 3, "multicast and reserved addresses"),
    ] {
        if subnet.overlaps(Subnet {
            network: other.into(),
            prefix: length,
        }) {
            return Err(format!("is {text:?}, which is reserved for {what}"));
        }
    }
    Ok(subnet)
}
