//! The user that a command runs as, from the guest's own files.

use std::fs;

use rustix::process::{Gid, Uid};

/// The shell of a user without one.
const SHELL: &str = "/bin/sh";

/// A user of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// The name.
    pub(crate) name: String,
    /// The number.
    pub(crate) user: Uid,
    /// The first group.
    pub(crate) group: Gid,
    /// All groups.
    pub(crate) groups: Vec<Gid>,
    /// The home directory.
    pub(crate) home: String,
    /// The login shell.
    pub(crate) shell: String,
}

impl Account {
    /// Finds the user of this name or number; root needs no entry.
    pub(crate) fn find(wanted: &str) -> Result<Self, String> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::find_in(wanted, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn find_in(wanted: &str, users: &str, groups: &str) -> Result<Self, String> {
        let is_wanted = |fields: &[&str]| {
            fields.first() == Some(&wanted)
                || fields.get(2) == Some(&wanted) && wanted.parse::<u32>().is_ok()
        };
        let row = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| is_wanted(fields));
        let Some(fields) = row else {
            if wanted == "root" || wanted == "0" {
                return Ok(Self::new("root", 0, 0, "/", SHELL, groups));
            }
            return Err(format!("the VM has no user `{wanted}` in /etc/passwd"));
        };
        let number = |at: usize| fields.get(at).and_then(|it| it.parse::<u32>().ok());
        let (Some(user), Some(group)) = (number(2), number(3)) else {
            return Err(format!("/etc/passwd of the VM is broken for `{wanted}`"));
        };
        // The kernel takes either value for "leave it unchanged".
        if user == u32::MAX || group == u32::MAX {
            return Err(format!("`{wanted}` has a number that no user has"));
        }
        let text = |at: usize, fallback| match fields.get(at) {
            Some(&"") | None => fallback,
            Some(text) => *text,
        };
        Ok(Self::new(
            fields[0],
            user,
            group,
            text(5, "/"),
            text(6, SHELL),
            groups,
        ))
    }

    fn new(name: &str, user: u32, group: u32, home: &str, shell: &str, groups: &str) -> Self {
        let has_member = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_member = fields.get(3)?.split(',').any(|member| member == name);
            is_member.then(|| fields.get(2)?.parse::<u32>().ok())?
        };
        let mut all = vec![Gid::from_raw(group)];
        let others = groups.lines().filter_map(has_member);
        all.extend(
            others
                .filter(|it| *it != group && *it != u32::MAX)
                .map(Gid::from_raw),
        );
        Self {
            name: name.to_owned(),
            user: Uid::from_raw(user),
            group: Gid::from_raw(group),
            groups: all,
            home: home.to_owned(),
            shell: shell.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/ada:\n\
                         odd:x:4294967295:5:::\nbroken\n";
    const GROUPS: &str = "docker:x:998:eve,ada\nsudo:x:27:ada\nada:x:1000:\nx\n";

    #[test]
    fn a_user_is_found_by_name_and_by_number_with_all_groups() {
        for wanted in ["ada", "1000"] {
            let ada = Account::find_in(wanted, USERS, GROUPS).unwrap();
            assert_eq!(
                (ada.home.as_str(), ada.shell.as_str()),
                ("/home/ada", "/bin/sh")
            );
            let groups: Vec<u32> = ada.groups.iter().map(|it| it.as_raw()).collect();
            assert_eq!(groups, [1000, 998, 27]);
        }
        assert_eq!(Account::find_in("root", USERS, "").unwrap().home, "/root");
    }

    #[test]
    fn a_user_that_is_not_there_is_named() {
        assert!(
            Account::find_in("eve", USERS, GROUPS)
                .unwrap_err()
                .contains("`eve`")
        );
        assert!(
            Account::find_in("x", USERS, GROUPS).is_err(),
            "that is a password"
        );
        assert!(Account::find_in("odd", USERS, GROUPS).is_err());
        assert!(Account::find_in("broken", USERS, GROUPS).is_err());
        assert_eq!(Account::find_in("root", "", "").unwrap().user, Uid::ROOT);
    }
}
