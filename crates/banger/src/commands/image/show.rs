//! `banger image show`.

use std::process::ExitCode;

use banger_api::ImageView;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{ImageArgument, size};
use crate::age;
use crate::failure::Outcome;
use crate::output::clean;
use crate::session::Session;

/// Show everything about one image: origin, size, digests, its VMs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banger image show default
  banger image show docker-dev --json | jq -r .digest")]
pub(crate) struct Show {
    #[command(flatten)]
    one: ImageArgument,
}

impl Show {
    /// Prints it.
    pub(crate) fn run(&self, session: &Session) -> Outcome {
        let image = session.daemon()?.image(&self.one.name)?;
        session.output.result(&image, || text(&image))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(image: &ImageView) -> String {
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    let users: Vec<_> = image.users.iter().map(|it| it.as_str()).collect();
    let mut lines = vec![
        ("name", image.name.to_string()),
        ("origin", clean(&image.origin)),
        (
            "size",
            format!(
                "{}; {} on the host",
                size(image.size_bytes),
                size(image.allocated_bytes)
            ),
        ),
        ("digest", image.digest.clone()),
        ("kernel", image.kernel.clone()),
    ];
    lines.extend(
        image
            .created
            .map(|it| ("created", age::moment(it, now, &zone))),
    );
    if image.is_default {
        lines.push(("default", "for new VMs".to_owned()));
    }
    if !users.is_empty() {
        lines.push(("VMs", users.join(", ")));
    }
    let line = |(key, value): (&str, String)| format!("{:9}{value}\n", format!("{key}:"));
    lines.into_iter().map(line).collect()
}
