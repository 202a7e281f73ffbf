//! The commands of `banger image import` and `image build`, which the daemon's program runs with
//! the user's environment.
//!
//! `image import` makes an ext4 file system from a source, and has the daemon import it. `image
//! build` downloads what the recipe names, and has the daemon build with it. So the proxies, the
//! certificates and the npm configuration are the user's, not the daemon's.

mod maker;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use banger_api::client::Client;
use banger_api::location::Location;
use banger_api::{BuildImage, Code, Error, ImageName, ImageView, ImportImage, Mib};

use banger_host::Linux;

use super::bundle::{location, progress};
use super::{Options, environment, overrides};
use crate::config::Config;
use crate::download::{Downloads, Proxies};
use crate::error::{During, Result};
use crate::image::bundle::{InterruptSignal, OwnKernel, Stage};
use crate::image::foreign::Footprint;
use crate::image::recipe::{Additions, Fetcher, Ingredients, PackageList, Recipe};
use crate::image::registry::{self, ImageReference, Logins, without_user};
use crate::image::{foreign, init};
use crate::layout::Layout;
use maker::Maker;

/// The options of `image build`.
#[derive(Debug, Clone)]
pub struct ImageBuild {
    /// The image's name.
    pub name: ImageName,
    /// The image to build from.
    pub from: Option<ImageName>,
    /// Whether Docker is added.
    pub docker: bool,
    /// A list of packages instead of the shipped one.
    pub packages: Option<PathBuf>,
    /// A recipe instead of the shipped one.
    pub recipe: Option<PathBuf>,
    /// The size of its root file system.
    pub size: Option<Mib>,
    /// Whether the VM of a failed build is kept.
    pub keep_on_failure: bool,
}

/// Builds an image, and prints each stage on standard error.
///
/// # Errors
/// If the recipe is invalid, a download fails, a step fails in the VM, or after ^C. Only the log
/// remains then, and the VM if it is to be kept.
pub fn build_image(options: &Options, build: &ImageBuild) -> Result<()> {
    let interruption = InterruptSignal::watch(|| {})?;
    let location = location(options, None)?;
    let client = Client::new(&location.socket)?;
    refuse_taken(&client, &build.name)?;
    let config = Config::of_daemon(&location, &overrides(), options.simulated)?;
    let mut recipes = vec![match &build.recipe {
        Some(path) => Recipe::read(path)?,
        None => Recipe::shipped()?,
    }];
    if build.docker {
        recipes.push(Recipe::docker()?);
    }
    let list = build.packages.as_ref();
    let list = list.or(config.default_packages_file.as_ref());
    let packages = list.map(|path| PackageList::open(path)).transpose()?;
    let ingredients = Ingredients {
        recipes,
        additions: Additions {
            packages,
            customize: config.customize_script.clone(),
        },
        mirrors: config.mirrors.clone(),
    };
    let base = build.from.as_ref().map(ToString::to_string);
    let base = base.or(config.default_base_rootfs);
    let mut show = progress(options);
    let downloads = Layout::new(&location.state).downloads();
    let mut fetcher = Fetcher::new(&downloads, &config.mirrors, environment, &mut show)?;
    let steps = ingredients.steps(&mut fetcher)?;
    fetcher.check()?;
    drop(fetcher);
    let request = BuildImage {
        name: build.name.to_string(),
        origin: Some(origin(&ingredients, base.as_deref())),
        base,
        size: build.size,
        steps,
        vm: None,
        of_work_disk: false,
        keep_on_failure: build.keep_on_failure,
    };
    let maker = Maker {
        client: &client,
        interruption: &interruption,
        is_silent: options.json,
    };
    let image = maker.build(request, &mut show)?;
    report(options, &image);
    Ok(())
}

/// The description of a built image's origin.
fn origin(ingredients: &Ingredients, base: Option<&str>) -> String {
    let base = base.unwrap_or(ImageName::DEFAULT);
    let recipes: Vec<&str> = ingredients.recipes.iter().map(|it| it.name()).collect();
    let digest = ingredients.packages().digest();
    format!(
        "built from {base} by {}; packages {}",
        recipes.join(", "),
        &digest[..12]
    )
}

/// Creates an image with this name, and prints each stage on standard error.
///
/// # Errors
/// If the source or the name is invalid. Nothing remains after an error or ^C.
pub fn import(options: &Options, source: &Path, name: &ImageName) -> Result<()> {
    let interruption = InterruptSignal::watch(|| {})?;
    let location = location(options, None)?;
    let client = Client::new(&location.socket)?;
    let run = ImportRun {
        options,
        location: &location,
        client: &client,
        interruption: &interruption,
        name,
    };
    let imported = run.take(source);
    // The name of an image has no password, but somebody may have written one.
    let shown = without_user(&source.to_string_lossy());
    let image = imported.during(format!("import `{shown}`"))?;
    report(options, &image);
    Ok(())
}

/// An import.
struct ImportRun<'a> {
    options: &'a Options,
    location: &'a Location,
    client: &'a Client,
    interruption: &'a InterruptSignal,
    name: &'a ImageName,
}

impl ImportRun<'_> {
    fn take(&self, source: &Path) -> Result<ImageView> {
        refuse_taken(self.client, self.name)?;
        let layout = Layout::new(&self.location.state);
        let own = OwnKernel::of(&self.config()?, &layout);
        let host = Linux::new().during("examine the host")?;
        let bundle = &own.bundle(&self.location.bundle, &host)?;
        let above = &layout.image_import();
        let mut show = progress(self.options);
        let (made, origin) = match source.to_str().filter(|it| ImageReference::is_meant_by(it)) {
            Some(name) => {
                let (image, origin) = self.pull(name)?;
                let source = foreign::Source::Image(&image);
                (foreign::make(source, bundle, above, &mut show)?, origin)
            }
            None => {
                let source = found(source)?;
                let source_file = foreign::Source::Path(&source);
                let made = foreign::make(source_file, bundle, above, &mut show)?;
                (made, text(&source)?)
            }
        };
        if let Some(files) = made.lacks_init {
            return self.add_init(&made.path, &files, &origin, &mut show);
        }
        let request = ImportImage {
            name: self.name.to_string(),
            path: text(&made.path)?,
            origin: Some(origin),
        };
        self.maker().import(&request, &mut show)
    }

    fn maker(&self) -> Maker<'_> {
        Maker {
            client: self.client,
            interruption: self.interruption,
            is_silent: self.options.json,
        }
    }

    /// Has the daemon install what this archive lacks, in a VM of the bundle's own image.
    fn add_init(
        &self,
        archive: &Path,
        files: &Footprint,
        origin: &str,
        show: &mut dyn FnMut(Stage),
    ) -> Result<ImageView> {
        let remark = "it has no init: systemd and sshd are added in a VM";
        show(Stage::Remark(remark.to_owned()));
        let request = BuildImage {
            name: self.name.to_string(),
            base: Some(ImageName::DEFAULT.to_owned()),
            size: Some(init::size(files)),
            steps: init::steps(archive, &self.config()?.mirrors)?,
            origin: Some(format!("{origin}, with an init")),
            vm: None,
            of_work_disk: true,
            keep_on_failure: false,
        };
        self.maker().build(request, show)
    }

    fn config(&self) -> Result<Config> {
        Config::of_daemon(self.location, &overrides(), self.options.simulated)
    }

    /// Fetches an image from a registry, and says where it comes from.
    fn pull(&self, name: &str) -> Result<(foreign::FetchedImage, String)> {
        let reference = ImageReference::parse(name)?;
        let config = self.config()?;
        let downloads = Layout::new(&self.location.state).downloads();
        let downloads = Downloads::new(downloads, Proxies::read(environment));
        let source = registry::Source {
            reference: &reference,
            configured: config.mirrors.docker.as_deref(),
            logins: &Logins::read(environment),
        };
        let image = registry::pull(&source, &downloads, &mut progress(self.options))?;
        let origin = format!("{reference}, sha256:{}", image.digest);
        Ok((image, origin))
    }
}

/// The absolute path of a source.
fn found(source: &Path) -> Result<PathBuf> {
    source.canonicalize().map_err(|cause| {
        let code = match cause.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Host,
        };
        Error::new(code, "it cannot be read").cause(cause.to_string())
    })
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::new(Code::Invalid, format!("{path:?} is not text")))
}

/// Rejects a name that is taken, before any long step.
fn refuse_taken(client: &Client, name: &ImageName) -> Result<()> {
    let is_taken = client.images()?.iter().any(|it| it.name == *name);
    if !is_taken {
        return Ok(());
    }
    let what = format!("there is an image `{name}` already");
    let error = Error::new(Code::Conflict, what);
    Err(error.hint("give another name; see which are taken: banger image list"))
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
            "{name} is ready, {taken} MiB on the host; use it: banger vm create --image {name}"
        )
    };
}
