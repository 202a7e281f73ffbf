//! `banger system status`: root's part, as `banger-root status` prints it, and the user's part.

use std::process::ExitCode;

use banger_api::{Code, Error, Result};
use clap::Args;
use serde_json::{Value, json};

use super::account::Account;
use super::helper;
use crate::failure::Outcome;
use crate::output::{Colour, Output};
use crate::programs::ProgramOutput;
use crate::session::Session;
use crate::systemd::{Systemd, UNIT};

/// Show how banger is set up as a service; exit status 1 if it is not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger system status
  banger system status --json | jq .units")]
pub(crate) struct Status {
    /// The user, if root asks [default: the user who ran `sudo`, else root].
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// The daemon's unit, in systemd's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DaemonUnit {
    active: String,
    enabled: String,
}

impl DaemonUnit {
    fn look(systemd: &Systemd) -> Result<Self> {
        let word = |verb: &str, none: &str| -> Result<String> {
            let ended = systemd.user(&[verb, UNIT])?;
            let word = ended.stdout.lines().next().unwrap_or_default();
            Ok(if word.is_empty() { none } else { word }.to_owned())
        };
        Ok(Self {
            active: word("is-active", "unknown")?,
            enabled: word("is-enabled", "not-found")?,
        })
    }

    fn is_well(&self) -> bool {
        self.active == "active" && self.enabled == "enabled"
    }
}

impl Status {
    /// Prints the status.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let account = Account::find(self.user.as_deref(), &session.places)?;
        let output = session.output;
        let root = helper::status(&account, output)?;
        let systemd = Systemd::new(&session.places);
        let has_systemd = systemd.is_there();
        // Another user's manager and daemon do not answer root.
        let unit = (has_systemd && !account.by_root)
            .then(|| DaemonUnit::look(&systemd))
            .transpose()?;
        let daemon = match account.by_root {
            true => None,
            false => session.running_daemon()?.map(|(_, view)| view.mode),
        };
        if output.json {
            let value = value(&account, &root, unit.as_ref(), daemon.as_deref())?;
            output.value(&value)?;
        } else {
            output.text(&text(&root, unit.as_ref(), daemon.as_deref(), output))?;
        }
        let own_is_well = !account.is_root() || unit.is_some_and(|it| it.is_well());
        let is_whole = root.done && own_is_well;
        // Without systemd there is nothing to set up for root.
        if !is_whole && (!account.is_root() || has_systemd) {
            output.note("set it up again: banger system install");
        }
        Ok(if is_whole {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Root's JSON object, with the user's part added.
fn value(
    account: &Account,
    root: &ProgramOutput,
    unit: Option<&DaemonUnit>,
    daemon: Option<&str>,
) -> Result<Value> {
    let mut value: Value = serde_json::from_str(&root.stdout).map_err(|cause| {
        Error::new(Code::Internal, "parse the output of `banger-root`").cause(cause.to_string())
    })?;
    value["user"] = json!(account.name);
    value["daemon"] = json!(daemon);
    if let (Some(unit), Some(units)) = (unit, value["units"].as_array_mut()) {
        let unit = json!({"name": UNIT, "active": unit.active, "enabled": unit.enabled});
        units.insert(0, unit);
    }
    Ok(value)
}

/// Root's lines, with the user's part added.
fn text(
    root: &ProgramOutput,
    unit: Option<&DaemonUnit>,
    daemon: Option<&str>,
    output: Output,
) -> String {
    let mut lines = vec![root.stdout.trim_end().to_owned()];
    if let Some(unit) = unit {
        let state = format!("{UNIT} {}, {}", unit.active, unit.enabled);
        let colour = match unit.is_well() {
            true => Colour::Green,
            false => Colour::Yellow,
        };
        lines.push(format!("unit        {}", output.paint(colour, &state)));
    }
    lines.push(match daemon {
        Some(mode) => format!("daemon      runs in {mode} mode"),
        None => "daemon      does not run".to_owned(),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(stdout: &str) -> ProgramOutput {
        ProgramOutput {
            done: true,
            stdout: stdout.to_owned(),
            stderr: String::new(),
        }
    }

    fn unit() -> DaemonUnit {
        DaemonUnit {
            active: "active".to_owned(),
            enabled: "enabled".to_owned(),
        }
    }

    #[test]
    fn the_user_s_own_part_follows_root_s() {
        let output = Output {
            json: false,
            quiet: false,
            terminal: false,
            colour: false,
            unicode: false,
        };
        let root = root("helper      answers ada\nlinger      on\n");
        insta::assert_snapshot!(text(&root, Some(&unit()), Some("root-helper"), output), @r"
        helper      answers ada
        linger      on
        unit        bangerd.service active, enabled
        daemon      runs in root-helper mode
        ");
    }

    #[test]
    fn json_is_one_object_whose_units_begin_with_the_daemon_s() {
        let account = Account {
            name: "ada".into(),
            uid: 1000,
            home: "/home/ada".into(),
            by_root: false,
        };
        let root = root(r#"{"uid":1000,"units":[{"name":"banger-root@1000.socket"}]}"#);
        let value = value(&account, &root, Some(&unit()), None).unwrap();
        assert_eq!(value["units"][0]["name"], UNIT);
        assert_eq!(value["units"][1]["name"], "banger-root@1000.socket");
        assert_eq!(value["user"], "ada");
        assert!(value["daemon"].is_null());
    }
}
