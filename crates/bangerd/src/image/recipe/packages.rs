//! A list of packages for apt: a name a line, `#` begins a remark.

use std::collections::BTreeSet;
use std::path::Path;

use banger_api::{Code, Error};
use sha2::{Digest as _, Sha256};

use super::read::text;
use crate::download::hexadecimal;
use crate::error::{During, Result};

/// Packages, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PackageList {
    pub(super) names: BTreeSet<String>,
}

impl PackageList {
    /// The list in this file.
    ///
    /// # Errors
    /// As [`Self::read`], or when it cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let list = text(path).and_then(|text| Self::read(&text));
        list.during(format!("read the list of packages `{}`", path.display()))
    }

    /// Reads a list.
    ///
    /// # Errors
    /// `invalid`, with the line that is no package's name.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut list = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            for name in line.split_whitespace() {
                list.add(name)
                    .map_err(|error| error.within(format!("line {}", number + 1)))?;
            }
        }
        Ok(list)
    }

    /// Adds a package: its name, perhaps with `:architecture`, `=version` or `/suite`.
    ///
    /// # Errors
    /// `invalid` for what apt would take for something else.
    pub(super) fn add(&mut self, name: &str) -> Result<()> {
        let is_name = |it: char| it.is_ascii_alphanumeric() || "+-.:=~/".contains(it);
        let is_plain =
            name.starts_with(|it: char| it.is_ascii_alphanumeric()) && name.chars().all(is_name);
        // One `+` or `-` at the end is apt's: to install, to remove.
        let is_changed = name.ends_with(['+', '-']) && !name.ends_with("++");
        if is_plain && !is_changed {
            self.names.insert(name.to_owned());
            return Ok(());
        }
        let what = format!("`{}` is not the name of a package", name.escape_debug());
        Err(Error::new(Code::Invalid, what))
    }

    /// What identifies the list: the SHA-256 of its names, sorted, one a line.
    #[must_use]
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for name in &self.names {
            hash.update(name);
            hash.update("\n");
        }
        hexadecimal(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_remarks_and_its_digest_is_of_its_names_alone() {
        let list = PackageList::read("# mine\njq  # json\n\ntree make\ng++\n").unwrap();
        let names: Vec<&str> = list.names.iter().map(String::as_str).collect();
        assert_eq!(names, ["g++", "jq", "make", "tree"]);
        let other = PackageList::read("g++\nmake\ntree\njq\njq\n").unwrap();
        assert_eq!(list.digest(), other.digest());
        assert_ne!(list.digest(), PackageList::read("jq").unwrap().digest());
    }

    #[test]
    fn what_apt_takes_for_an_option_or_a_removal_is_refused_with_its_line() {
        for bad in ["-y", "jq-", "a;b", "$(id)", "é", "jq+"] {
            let error = PackageList::read(&format!("jq\n{bad}\n")).unwrap_err();
            assert!(error.to_string().contains("line 2"), "{error}");
        }
    }
}
