//! The commands of `banger config`, which the daemon's program runs.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use banger_api::configuration::{Origin, Setting};
use banger_api::location::Location;
use banger_api::{Code, Error};
use banger_host::{FileOp, Host as _, Linux, Op};
use serde_json::Value;

use super::{Options, environment, find_bundle, overrides};
use crate::config::{self, Change, Config};
use crate::error::{During, Result};

/// The mode of a new configuration file.
const MODE: u32 = 0o644;

/// Prints every setting of a daemon that starts now.
///
/// # Errors
/// If the configuration is invalid.
pub fn show(options: &Options, with_origins: bool) -> Result<()> {
    let mut location = Location::find(&options.wishes, environment)?;
    let config = Config::of_daemon(&location, &overrides(), options.simulated)?;
    let mut settings = config.settings();
    if options.wishes.bundle.is_some() {
        find_bundle(&mut location, options, &config);
        for setting in settings.iter_mut().filter(|it| it.key == "runtime_dir") {
            setting.value = location.bundle.display().to_string().into();
            setting.origin = Origin::Option;
        }
    }
    let shown = if options.json {
        serde_json::to_string(&settings).unwrap_or_default() + "\n"
    } else {
        table(&settings, with_origins)
    };
    // The reader may have gone.
    let _ = std::io::stdout().write_all(shown.as_bytes());
    Ok(())
}

/// The settings as a configuration file. A key without a value is a comment.
fn table(settings: &[Setting], with_origins: bool) -> String {
    let lines: Vec<String> = settings
        .iter()
        .map(|setting| match &setting.value {
            Value::Null => format!("# {} =", setting.key),
            // Strings, numbers, booleans and lists are the same in JSON and TOML.
            value => format!("{} = {value}", setting.key),
        })
        .collect();
    let width = lines.iter().map(|line| line.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for (line, setting) in lines.iter().zip(settings) {
        if with_origins {
            text += &format!("{line:width$}  # {}\n", setting.origin);
        } else {
            text += &format!("{line}\n");
        }
    }
    text
}

/// Checks that this file is a valid configuration.
///
/// # Errors
/// Each fault of the file.
pub fn check(file: &Path) -> Result<()> {
    Config::load(file).map(drop)
}

/// Changes one key atomically, and preserves the rest of the file.
///
/// # Errors
/// If the file is invalid, the key does not accept the value, or the file cannot be written.
pub fn change(options: &Options, key: &str, to: &Change) -> Result<()> {
    let location = Location::find(&options.wishes, environment)?;
    let text = config::change(&location.config, key, to)?;
    put(&location.config, text.into_bytes())
}

/// Replaces the configuration with the content of this file, atomically.
///
/// # Errors
/// If the content is invalid or cannot be written; the configuration is then unchanged.
pub fn take(options: &Options, file: &Path) -> Result<()> {
    let location = Location::find(&options.wishes, environment)?;
    Config::load(file)?;
    let bytes = std::fs::read(file).map_err(|cause| {
        Error::new(Code::Host, format!("read `{}`", file.display())).cause(cause.to_string())
    })?;
    put(&location.config, bytes)
}

/// Replaces the file that `path` leads to, so that a symbolic link to it stays.
fn put(path: &Path, contents: Vec<u8>) -> Result<()> {
    let doing = || format!("write `{}`", path.display());
    let host_error =
        |cause: std::io::Error| Error::new(Code::Host, doing()).cause(cause.to_string());
    let target: PathBuf = if path.exists() {
        path.canonicalize().map_err(host_error)?
    } else {
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(host_error)?;
        path.to_owned()
    };
    let mode = target
        .metadata()
        .map_or(MODE, |meta| meta.permissions().mode() & 0o777);
    let host = Linux::new().during("examine the host")?;
    let op = Op::File(FileOp::WriteFile {
        path: target,
        contents,
        mode,
        owner: None,
    });
    host.change(&op).during(doing()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_a_configuration_file_itself() {
        let config = Config::default();
        let settings = config.settings();
        for with_origins in [false, true] {
            let text = table(&settings, with_origins);
            let again = Config::default().parse(Path::new("shown"), text.as_bytes());
            assert!(again.unwrap().differences(&config).is_empty(), "{text}");
        }
        let text = table(&settings, true);
        assert!(text.contains("\nnat = false "), "{text}");
        assert!(text.contains("\n# qemu = "), "{text}");
    }

    #[test]
    fn a_file_behind_a_link_stays_there_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (
            folder.path().join("dotfile"),
            folder.path().join("config.toml"),
        );
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("dotfile", &link).unwrap();
        put(&link, b"new".to_vec()).unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let fresh = folder.path().join("a/b/config.toml");
        put(&fresh, b"new".to_vec()).unwrap();
        assert_eq!(std::fs::read(&fresh).unwrap(), b"new");
    }
}
