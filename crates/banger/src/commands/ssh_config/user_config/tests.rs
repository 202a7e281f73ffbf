use std::os::unix::fs::symlink;
use std::process::Command;

use tempfile::TempDir;

use super::*;

/// A home with this `~/.ssh/config`, and a file to include.
fn home(text: Option<&[u8]>) -> (TempDir, UserConfig, PathBuf) {
    let folder = tempfile::Builder::new()
        .prefix("banger home ")
        .tempdir()
        .unwrap();
    let own = UserConfig::of(folder.path());
    if let Some(text) = text {
        fs::create_dir(&own.folder).unwrap();
        fs::write(&own.path, text).unwrap();
        fs::set_permissions(&own.path, fs::Permissions::from_mode(0o640)).unwrap();
    }
    let file = folder.path().join("state/ssh/config");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(
        &file,
        "Host web.vm web\n    HostName 10.215.0.2\n    User root\n    Port 22\n",
    )
    .unwrap();
    (folder, own, file)
}

/// The value that the real ssh reads, if ssh is installed.
#[expect(clippy::disallowed_methods, reason = "a test asks the real ssh")]
fn as_ssh_reads(config: &Path, host: &str) -> Option<String> {
    let mut command = Command::new("ssh");
    let output = command.arg("-G").arg("-F").arg(config).arg(host).output();
    let output = output.ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_file_is_the_same_byte_for_byte_afterwards() {
    for text in [
        &b""[..],
        b"Host *\n  User ada\n  Port 2022",
        b"Host *\r\n  User ada\r\n",
        b"\n\n# banger begin: of somebody else\n\xff\xfe\x00",
        b"Include ~/.lima/*/ssh.config\n",
    ] {
        let (_folder, own, file) = home(Some(text));
        assert!(own.install(&file).unwrap());
        let installed = fs::read(&own.path).unwrap();
        assert!(installed.starts_with(BEGIN.as_bytes()));
        assert!(installed.ends_with(text));
        assert!(!own.install(&file).unwrap(), "it is so already");
        assert_eq!(fs::read(&own.path).unwrap(), installed);
        let mode = fs::metadata(&own.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "it keeps its permissions");
        assert!(own.remove(&file).unwrap());
        assert_eq!(fs::read(&own.path).unwrap(), text);
        assert!(!own.remove(&file).unwrap());
        let left = fs::read_dir(&own.folder).unwrap().count();
        assert_eq!(left, 1, "no temporary file is left");
    }
}

#[test]
fn a_file_that_was_made_goes_with_its_only_lines() {
    let (_folder, own, file) = home(None);
    assert!(!own.remove(&file).unwrap());
    assert!(own.install(&file).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&own.folder), mode(&own.path)), (0o700, 0o600));
    assert!(own.remove(&file).unwrap());
    assert!(!own.path.exists());
    // The user's additions stay.
    own.install(&file).unwrap();
    let mut text = fs::read(&own.path).unwrap();
    text.extend(b"Host mine\n");
    fs::write(&own.path, text).unwrap();
    assert!(!own.install(&file).unwrap());
    own.remove(&file).unwrap();
    assert_eq!(fs::read(&own.path).unwrap(), b"Host mine\n");
}

#[test]
fn our_lines_are_first_again_where_something_was_put_before_them() {
    let (_folder, own, file) = home(Some(b"Host b\n"));
    own.install(&file).unwrap();
    let mut text = b"Host a\n".to_vec();
    text.extend(fs::read(&own.path).unwrap());
    fs::write(&own.path, text).unwrap();
    assert!(own.install(&file).unwrap());
    assert!(fs::read(&own.path).unwrap().starts_with(BEGIN.as_bytes()));
    own.remove(&file).unwrap();
    assert_eq!(fs::read(&own.path).unwrap(), b"Host a\nHost b\n");
}

#[test]
fn two_state_directories_are_included_side_by_side() {
    let (folder, own, file) = home(Some(b"Host a\n"));
    let other = folder.path().join("other/ssh/config");
    own.install(&file).unwrap();
    own.install(&other).unwrap();
    own.remove(&file).unwrap();
    let text = fs::read_to_string(&own.path).unwrap();
    assert!(text.contains("other/ssh/config") && !text.contains("state/ssh/config"));
    own.remove(&other).unwrap();
    assert_eq!(fs::read(&own.path).unwrap(), b"Host a\n");
}

#[test]
fn a_link_stays_and_the_file_behind_it_is_changed() {
    let (folder, own, file) = home(None);
    let dotfiles = folder.path().join("dotfiles");
    fs::create_dir_all(&dotfiles).unwrap();
    fs::create_dir(&own.folder).unwrap();
    symlink("../dotfiles/ssh", &own.path).unwrap();
    for text in [None, Some(b"Host a\n")] {
        if let Some(text) = text {
            fs::write(dotfiles.join("ssh"), text).unwrap();
        }
        own.install(&file).unwrap();
        let installed = fs::read(dotfiles.join("ssh")).unwrap();
        assert!(installed.starts_with(b"# banger begin"));
        own.remove(&file).unwrap();
        assert_eq!(
            fs::read(dotfiles.join("ssh")).ok(),
            text.map(|it| it.to_vec())
        );
        assert!(own.path.is_symlink());
    }
}

#[test]
fn what_cannot_be_changed_says_what_to_do() {
    let (folder, own, file) = home(Some(b"Host a\n"));
    fs::set_permissions(&own.path, fs::Permissions::from_mode(0o400)).unwrap();
    let error = own.install(&file).unwrap_err();
    assert_eq!(error.causes, ["it is read-only"]);
    assert!(error.hints[0].contains("Include \""), "{error:?}");
    assert_eq!(fs::read(&own.path).unwrap(), b"Host a\n");
    fs::remove_file(&own.path).unwrap();
    fs::create_dir(&own.path).unwrap();
    assert_eq!(
        own.install(&file).unwrap_err().causes,
        ["it is not a regular file"]
    );
    for name in ["a\"b", "a\\b", "a\nb"] {
        let error = own.install(&folder.path().join(name)).unwrap_err();
        assert_eq!(error.code, Code::Invalid, "{name}");
    }
}

#[test]
fn many_at_once_leave_one_inclusion() {
    let (_folder, own, file) = home(Some(b"Host a\n"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| own.install(&file).unwrap());
        }
    });
    let text = fs::read_to_string(&own.path).unwrap();
    assert_eq!(text.matches("Include").count(), 1, "{text}");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| own.remove(&file).unwrap());
        }
    });
    assert_eq!(fs::read(&own.path).unwrap(), b"Host a\n");
}

#[test]
fn ssh_reads_ours_first_and_the_users_own_for_all_other_hosts() {
    let text = b"User ada\nHost *\n  Port 2022\nHost web other\n  HostName 192.0.2.1";
    let (folder, own, _) = home(Some(text));
    let odd = folder.path().join("a [b] *?50%h ${x}/config");
    fs::create_dir_all(odd.parent().unwrap()).unwrap();
    fs::copy(folder.path().join("state/ssh/config"), &odd).unwrap();
    own.install(&odd).unwrap();
    let Some(web) = as_ssh_reads(&own.path, "web.vm") else {
        return;
    };
    for line in ["user root", "port 22", "hostname 10.215.0.2"] {
        assert!(web.contains(&format!("\n{line}\n")), "{line}: {web}");
    }
    let other = as_ssh_reads(&own.path, "other").unwrap();
    for line in ["user ada", "port 2022", "hostname 192.0.2.1"] {
        assert!(other.contains(&format!("\n{line}\n")), "{line}: {other}");
    }
    let names = ["web", "db"].map(str::to_owned);
    assert_eq!(own.shadowed(&names), ["web"]);
}
