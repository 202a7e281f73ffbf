//! The claim of a record: the names and numbers that its VM occupies.
//!
//! A record that this program cannot use (damaged, or of a newer schema) still belongs to a VM,
//! which occupies its name, index, address, user and images. So they are found by their keys
//! anywhere in the text. Claiming too much does no harm.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use banger_api::{VmId, VmName};

use super::Vm;

/// The names and numbers that one VM occupies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its id, from the name of its folder.
    pub id: VmId,
    /// Its name, and perhaps names of other things.
    pub names: BTreeSet<VmName>,
    /// Its index.
    pub indexes: BTreeSet<u32>,
    /// Its address.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// The users that its hypervisor may run as.
    pub uids: BTreeSet<u32>,
    /// The images that it starts from.
    pub digests: BTreeSet<String>,
}

impl Claim {
    /// The claim of a record's text.
    #[must_use]
    pub fn read(id: VmId, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        Self {
            id,
            names: values(&text, "name"),
            indexes: values(&text, "index"),
            addresses: values(&text, "address"),
            uids: values(&text, "uid"),
            digests: digests(&text),
        }
    }

    /// The claim of a VM. One in the trash keeps its index, but not its name.
    #[must_use]
    pub fn of(vm: &Vm) -> Self {
        let users = [vm.owner, vm.jailed_as()].into_iter().flatten();
        let name = (!vm.is_in_trash()).then(|| vm.name.clone());
        Self {
            id: vm.id,
            names: name.into_iter().collect(),
            indexes: BTreeSet::from([vm.index]),
            addresses: BTreeSet::from([vm.address]),
            uids: users.map(|owner| owner.uid).collect(),
            digests: BTreeSet::from([vm.images.root.clone(), vm.images.kernel.clone()]),
        }
    }
}

/// All values of this key that have the right type.
fn values<T: std::str::FromStr + Ord>(text: &str, key: &str) -> BTreeSet<T> {
    text.split(&format!("\"{key}\""))
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix(':'))
        .filter_map(|rest| rest.split([',', '}', ']', '\n']).next())
        .filter_map(|token| token.trim().trim_matches('"').parse().ok())
        .collect()
}

/// Every SHA-256 in the text, in hexadecimal.
pub fn digests(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_whole_record_claims_is_found_in_its_text() {
        let vm = crate::assemble::tests::made().1;
        let text = serde_json::to_vec_pretty(&vm).unwrap();
        let (read, of) = (Claim::read(vm.id, &text), Claim::of(&vm));
        assert!(read.names.is_superset(&of.names), "{read:?}");
        assert_eq!(
            (read.id, read.indexes, read.addresses, read.uids),
            (of.id, of.indexes, of.addresses, of.uids)
        );
        assert!(read.digests.is_superset(&of.digests));
    }

    #[test]
    fn a_record_that_is_cut_off_or_of_another_shape_claims_what_it_still_shows() {
        let digest = "0123456789abcdef".repeat(4);
        let text = format!(
            r#"{{"schema":9,"machine":{{"name" : "calm-otter","place":{{"index":7,"address":"10.0.0.9"}},"base":"sha256:{digest}","owner":{{"uid":1900000007,"gi"#
        );
        let claim = Claim::read(VmId::from_bits(1), text.as_bytes());
        assert_eq!(claim.names, BTreeSet::from(["calm-otter".parse().unwrap()]));
        assert_eq!(claim.indexes, BTreeSet::from([7]));
        assert_eq!(
            claim.addresses,
            BTreeSet::from([Ipv4Addr::new(10, 0, 0, 9)])
        );
        assert_eq!(claim.uids, BTreeSet::from([1_900_000_007]));
        assert_eq!(claim.digests, BTreeSet::from([digest]));
    }

    #[test]
    fn bytes_that_are_no_text_claim_nothing_and_do_no_harm() {
        let claim = Claim::read(VmId::from_bits(1), &[0xff, b'"', b'u', 0, 0xfe]);
        assert_eq!(claim.digests, BTreeSet::new());
    }
}
