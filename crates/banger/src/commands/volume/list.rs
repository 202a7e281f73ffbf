//! `banger volume list`.

use std::process::ExitCode;

use banger_api::VolumeView;
use clap::Args;

use super::size;
use crate::columns::columns;
use crate::failure::Outcome;
use crate::output::say;
use crate::session::Session;

/// List volumes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger volume list
  banger volume list --json | jq -r '.[] | select(.users == []) | .name'")]
pub(crate) struct List {}

impl List {
    /// Prints the list.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let volumes = session.daemon()?.volumes()?;
        let output = session.output;
        if output.json {
            output.value(&volumes)?;
        } else if volumes.is_empty() {
            if !output.quiet {
                say("there are no volumes yet; create one: banger volume create NAME");
            }
        } else if output.quiet {
            let names: Vec<_> = volumes.iter().map(|it| it.name.as_str()).collect();
            output.text(&names.join("\n"))?;
        } else {
            output.text(&table(&volumes))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(volumes: &[VolumeView]) -> String {
    let header = ["NAME", "SIZE", "ON DISK", "USED BY"];
    let rows = volumes.iter().map(|volume| {
        vec![
            volume.name.to_string(),
            size(volume.size_bytes).to_string(),
            size(volume.allocated_bytes).to_string(),
            users(volume),
        ]
    });
    let header = header.map(str::to_owned).to_vec();
    let rows: Vec<_> = [header].into_iter().chain(rows).collect();
    columns(&rows, |_, _, _| None)
}

/// The VMs that have it.
pub(super) fn users(volume: &VolumeView) -> String {
    let users: Vec<_> = volume.users.iter().map(|it| it.as_str()).collect();
    if users.is_empty() {
        return "-".to_owned();
    }
    users.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_aligned() {
        let volume = |name: &str, users: &[&str]| VolumeView {
            name: name.parse().unwrap(),
            size_bytes: 16 << 30,
            allocated_bytes: 33 << 20,
            users: users.iter().map(|it| it.parse().unwrap()).collect(),
        };
        let volumes = [volume("data", &["web"]), volume("scratch-1", &[])];
        insta::assert_snapshot!(table(&volumes), @r"
        NAME       SIZE  ON DISK  USED BY
        data       16G   33M      web
        scratch-1  16G   33M      -
        ");
    }
}
