//! The guest's own name, after the VM was renamed.
//!
//! `/etc/hostname` and the guest's line of `/etc/hosts` are written once, and belong to the user
//! from then on. So the new name replaces a former one only where it is still as banger wrote it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::system::replace::{self, Rights};

/// Sets the kernel's host name.
pub(crate) fn set(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

/// Replaces each of the former names by `name`.
pub(crate) fn replace(former: &[String], name: &str) -> io::Result<()> {
    replace_below(Path::new("/etc"), former, name)
}

fn replace_below(etc: &Path, former: &[String], name: &str) -> io::Result<()> {
    edit(&etc.join("hostname"), |text| {
        former
            .iter()
            .any(|it| it == text.trim())
            .then(|| format!("{name}\n"))
    })?;
    edit(&etc.join("hosts"), |text| {
        let lines = text.split_inclusive('\n');
        Some(lines.map(|line| hosts_line(line, former, name)).collect())
    })
}

/// `ADDRESS FORMER.vm FORMER` with the new name; any other line unchanged.
fn hosts_line(line: &str, former: &[String], name: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [address, full, short]
            if !address.starts_with('#')
                && full.strip_suffix(".vm") == Some(short)
                && former.iter().any(|it| it == short) =>
        {
            format!("{address} {name}.vm {name}\n")
        }
        _ => line.to_owned(),
    }
}

/// Replaces a file's text if `with` returns another one. Only a plain file is changed.
fn edit(path: &Path, with: impl FnOnce(&str) -> Option<String>) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.is_file() {
        return Ok(());
    }
    // A text in another encoding is the user's.
    let Ok(text) = String::from_utf8(fs::read(path)?) else {
        return Ok(());
    };
    let Some(new) = with(&text).filter(|new| *new != text) else {
        return Ok(());
    };
    let rights = Rights {
        mode: found.permissions().mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
    };
    replace::write(path, new.as_bytes(), rights)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "127.0.0.1 localhost\n10.215.0.2 web.vm web\n# 10.0.0.1 web.vm web\n10.0.0.9 web.vm web db\n10.0.0.8 web.example web\n";

    fn etc(hostname: &str) -> tempfile::TempDir {
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join("hostname"), hostname).unwrap();
        fs::write(etc.path().join("hosts"), HOSTS).unwrap();
        etc
    }

    fn read(etc: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(etc.path().join(name)).unwrap()
    }

    #[test]
    fn the_new_name_stands_where_a_former_one_stood_as_banger_wrote_it() {
        let former = ["older".to_owned(), "web".to_owned()];
        let etc = etc("web\n");
        for _ in 0..2 {
            replace_below(etc.path(), &former, "api").unwrap();
            assert_eq!(read(&etc, "hostname"), "api\n");
            let expected = HOSTS.replacen("web.vm web\n", "api.vm api\n", 1);
            assert_eq!(read(&etc, "hosts"), expected);
        }
    }

    #[test]
    fn a_name_that_the_user_gave_stays() {
        let etc = etc("mine.example\n");
        replace_below(etc.path(), &["web".to_owned()], "api").unwrap();
        assert_eq!(read(&etc, "hostname"), "mine.example\n");
        replace_below(etc.path(), &[], "other").unwrap();
        assert!(read(&etc, "hosts").contains("api.vm api\n"));
    }

    #[test]
    fn a_link_and_a_file_that_is_not_there_are_left_alone() {
        let etc = etc("web\n");
        fs::remove_file(etc.path().join("hosts")).unwrap();
        let target = etc.path().join("elsewhere");
        fs::rename(etc.path().join("hostname"), &target).unwrap();
        std::os::unix::fs::symlink(&target, etc.path().join("hostname")).unwrap();
        replace_below(etc.path(), &["web".to_owned()], "api").unwrap();
        assert_eq!(fs::read_to_string(target).unwrap(), "web\n");
        assert!(!etc.path().join("hosts").exists());
    }
}
