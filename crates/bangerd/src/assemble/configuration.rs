//! Compares the configuration on disk with the one that the daemon last read.

use std::sync::{Arc, Mutex, PoisonError};

use banger_api::Fix;
use banger_api::location::Location;
use banger_host::Finding;

use super::defaults;
use crate::config::Config;
use crate::engine::Reread;
use crate::error::Result;
use crate::image::recipe::Mirrors;
use crate::readiness::Check;

/// The file, and the configuration in force.
#[derive(Debug, Clone)]
pub(super) struct ConfigurationInForce {
    location: Location,
    simulated: bool,
    config: Arc<Mutex<Config>>,
}

impl ConfigurationInForce {
    pub(super) fn new(location: &Location, config: &Config, simulated: bool) -> Self {
        Self {
            location: location.clone(),
            simulated,
            config: Arc::new(Mutex::new(config.clone())),
        }
    }

    /// Reloads the file, and applies what can change while the daemon runs.
    ///
    /// # Errors
    /// If the file is invalid; nothing is applied then.
    pub(super) fn reread(&self) -> Result<Reread> {
        let mut in_force = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let on_disk = Config::of_daemon(&self.location, &in_force.overrides, self.simulated)?;
        let before = in_force.clone();
        let waiting = in_force.take_over(&on_disk);
        Ok(Reread {
            defaults: defaults(&in_force),
            log_level: in_force.log_level,
            changed: before.differences(&in_force),
            waiting,
        })
    }

    /// The mirrors in force.
    pub(super) fn mirrors(&self) -> Mirrors {
        let in_force = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        in_force.mirrors.clone()
    }

    /// The command that makes the daemon use a valid file.
    fn fix(&self) -> Option<Fix> {
        let in_force = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let on_disk =
            Config::of_daemon(&self.location, &in_force.overrides, self.simulated).ok()?;
        if in_force.differences(&on_disk).is_empty() {
            return None;
        }
        Some(if in_force.clone().take_over(&on_disk).is_empty() {
            Fix::banger("reload the configuration", &["daemon", "reload"])
        } else {
            let what = "stop the daemon: VMs keep running, and the next daemon reads the file";
            Fix::banger(what, &["daemon", "stop"])
        })
    }

    /// Reads the file each time, because otherwise nobody would notice that the next start of the
    /// daemon fails.
    pub(super) fn check(&self) -> Check {
        let own = self.clone();
        Check::new("configuration", move |_| {
            let in_force = own.config.lock().unwrap_or_else(PoisonError::into_inner);
            look(&own.location, &in_force, own.simulated)
        })
        .fixed_by({
            let own = self.clone();
            move |_| own.fix()
        })
    }
}

fn look(location: &Location, in_force: &Config, simulated: bool) -> Finding {
    let path = location.config.display();
    match Config::of_daemon(location, &in_force.overrides, simulated) {
        Ok(on_disk) if !in_force.differences(&on_disk).is_empty() => {
            let keys = in_force.differences(&on_disk);
            let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            let waits = !in_force.clone().take_over(&on_disk).is_empty();
            Finding::Doubtful {
                found: format!(
                    "`{path}` has changed since the daemon read it: {}",
                    keys.join(", ")
                ),
                hint: if waits {
                    "to apply it, stop the daemon (VMs keep running): banger daemon stop"
                } else {
                    "to apply it: banger daemon reload"
                }
                .to_owned(),
            }
        }
        Ok(on_disk) if !on_disk.renamed.is_empty() => Finding::Doubtful {
            found: on_disk.renamed.join("; "),
            hint: format!("rename it in {path}; the old name still works"),
        },
        Ok(_) if location.config.exists() => Finding::Good(path.to_string()),
        Ok(_) => Finding::Good(format!("there is no `{path}`, so the defaults apply")),
        Err(error) => {
            let faults = std::iter::once(&error.message).chain(&error.also);
            let faults: Vec<&str> = faults.map(String::as_str).collect();
            let mut hints = error.hints;
            hints.push(
                "no daemon can start until it is fixed; this one continues with the configuration that it read".to_owned(),
            );
            Finding::Bad {
                found: faults.join("\n"),
                hint: hints.join("\n"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location {
            state: folder.path().join("state"),
            socket: folder.path().join("s"),
            config: folder.path().join("config.toml"),
            bundle: folder.path().join("bundle"),
            bundle_reason: String::new(),
        };
        let write = |text: &str| std::fs::write(&location.config, text).unwrap();
        let none = banger_api::configuration::Overrides::new();
        let in_force = Config::of_daemon(&location, &none, true).unwrap();
        let found = || look(&location, &in_force, true);
        assert!(matches!(found(), Finding::Good(found) if found.contains("the defaults apply")));
        write("vcpu = 2\n");
        assert!(matches!(found(), Finding::Good(found) if found.ends_with("config.toml")));
        write("vcpu = 3\n");
        assert!(
            matches!(found(), Finding::Doubtful { hint, .. } if hint.contains("daemon reload"))
        );
        write("vcpu = 3\nsubnet = \"10.9.0.0/20\"\n");
        assert!(matches!(found(), Finding::Doubtful { hint, .. } if hint.contains("daemon stop")));
        write("vcpu = 2\nbundle = \"/x\"\n");
        let in_force = Config::of_daemon(&location, &none, true).unwrap();
        assert_eq!(in_force.runtime_dir.as_deref(), Some("/x".as_ref()));
        let old = look(&location, &in_force, true);
        assert!(
            matches!(old, Finding::Doubtful { found, .. } if found.contains("`runtime_dir` now"))
        );
        write("vcpu = 3\nnatt = true\nmemory = 5\n");
        let Finding::Bad { found, hint } = found() else {
            panic!("{:?}", found());
        };
        assert!(found.contains(":2:1: ") && found.contains(":3:"), "{found}");
        assert!(hint.contains("the keys are"), "{hint}");
    }
}
