//! The command `banger image import`, which the daemon's program runs: it converts a source to an
//! ext4 file system, and lets the daemon create an image from that.

use std::io::Write as _;
use std::path::Path;

use banger_api::client::Client;
use banger_api::{Code, Error, ImageName, ImageView, ImportImage};

use super::Options;
use super::bundle::{location, progress};
use crate::error::{During, Result};
use crate::image::foreign;

/// Creates an image with this name, and prints each stage on standard error.
///
/// # Errors
/// If the source or the name is invalid. Nothing remains after an error.
pub fn import(options: &Options, source: &Path, name: &ImageName) -> Result<()> {
    let location = location(options, None)?;
    let client = Client::new(&location.socket)?;
    let imported = take(&client, source, &location.bundle, name, options);
    let image = imported.during(format!("import `{}`", source.display()))?;
    report(options, &image);
    Ok(())
}

fn take(
    client: &Client,
    source: &Path,
    bundle: &Path,
    name: &ImageName,
    options: &Options,
) -> Result<ImageView> {
    // Checked before any long work.
    let is_taken = client.images()?.iter().any(|it| it.name == *name);
    if is_taken {
        let error = Error::new(
            Code::Conflict,
            format!("there is an image `{name}` already"),
        );
        return Err(error.hint("choose another name; list all images: banger image list"));
    }
    let source = source.canonicalize().map_err(|cause| {
        let code = match cause.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Host,
        };
        Error::new(code, "it cannot be read").cause(cause.to_string())
    })?;
    let made = foreign::make(&source, bundle, &mut progress(options))?;
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| Error::new(Code::Invalid, format!("{path:?} is not text")))
    };
    let request = ImportImage {
        name: name.to_string(),
        path: text(&made.path)?,
        origin: Some(text(&source)?),
    };
    client.import_image(&request, |_| {})
}

/// Prints the new image.
fn report(options: &Options, image: &ImageView) {
    let mut stdout = std::io::stdout();
    let _ = if options.json {
        let text = serde_json::to_string(image).unwrap_or_default();
        writeln!(stdout, "{text}")
    } else {
        let (name, taken) = (&image.name, image.allocated_bytes.div_ceil(1 << 20));
        writeln!(
            stdout,
            "{name} is imported, {taken} MiB on the host; use it: banger vm create --image {name}"
        )
    };
}
