//! `banger image list`.

use std::process::ExitCode;

use banger_api::ImageView;
use clap::Args;
use jiff::Timestamp;

use super::size;
use crate::age;
use crate::columns::columns;
use crate::failure::Outcome;
use crate::output::{clean, say};
use crate::session::Session;

/// List the images that VMs can be created from.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger image list
  banger image list --quiet            # the names alone
  banger image list --json | jq -r '.[] | select(.users == []) | .name'")]
pub(crate) struct List {}

impl List {
    /// Prints the list.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let images = session.daemon()?.images()?;
        let output = session.output;
        if output.json {
            output.value(&images)?;
        } else if images.is_empty() {
            if !output.quiet {
                say("there are no images yet; create the default one: banger bundle build");
            }
        } else if output.quiet {
            let names: Vec<_> = images.iter().map(|it| it.name.as_str()).collect();
            output.text(&names.join("\n"))?;
        } else {
            output.text(&table(&images, Timestamp::now()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(images: &[ImageView], at: Timestamp) -> String {
    let header = ["NAME", "SIZE", "ON DISK", "VMS", "AGE", "ORIGIN"];
    let rows = images.iter().map(|image| {
        vec![
            image.name.to_string(),
            size(image.size_bytes).to_string(),
            size(image.allocated_bytes).to_string(),
            image.users.len().to_string(),
            image
                .created
                .map_or("-".to_owned(), |it| age::since(it, at)),
            clean(&image.origin),
        ]
    });
    let header = header.map(str::to_owned).to_vec();
    let rows: Vec<_> = [header].into_iter().chain(rows).collect();
    columns(&rows, |_, _, _| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_aligned() {
        let image = |name: &str, created| ImageView {
            name: name.parse().unwrap(),
            is_default: false,
            origin: "disk.img\u{1b}".to_owned(),
            digest: "0".repeat(64),
            kernel: "1".repeat(64),
            size_bytes: 1 << 30,
            allocated_bytes: 361 << 20,
            created,
            users: vec!["web".parse().unwrap()],
        };
        let made = Timestamp::from_second(1_800_000_000).unwrap();
        let images = [image("default", None), image("docker-dev", Some(made))];
        let now = Timestamp::from_second(1_800_007_200).unwrap();
        insta::assert_snapshot!(table(&images, now), @r"
        NAME        SIZE  ON DISK  VMS  AGE  ORIGIN
        default     1G    361M     1    -    disk.img\u{1b}
        docker-dev  1G    361M     1    2h   disk.img\u{1b}
        ");
    }
}
