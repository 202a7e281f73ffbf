//! `bangerd`: parse, assemble, serve.

use std::path::PathBuf;
use std::process::ExitCode;

use bangerd::config::Change;
use bangerd::daemon::{self, Options, configuration};
use clap::{Args, Parser, Subcommand};

/// banger's daemon: it runs VMs, and answers on a Unix socket
#[derive(Debug, Parser)]
#[command(name = "bangerd", version)]
struct Cli {
    #[command(flatten)]
    places: LocationArguments,
    /// Works on a simulated host: no privileges, no VMs
    #[arg(long)]
    sim: bool,
    /// Leaves everything of whoever starts it: terminal, open files, limits
    #[arg(long, hide = true)]
    detach: bool,
    /// Prints what went wrong as JSON, for the program that starts it
    #[arg(long, hide = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct LocationArguments {
    /// The state directory
    #[arg(long, env = "BANGER_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// The socket
    #[arg(long, env = "BANGER_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The configuration file
    #[arg(long, env = "BANGER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The bundle
    #[arg(long, env = "BANGER_RUNTIME_DIR", value_name = "DIR")]
    bundle: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Works on the bundle
    #[command(subcommand)]
    Bundle(Bundle),
    /// Works on images
    #[command(subcommand, hide = true)]
    Image(Image),
    /// Works on the configuration
    #[command(subcommand, hide = true)]
    Config(Config),
    /// Stands between a guest and QEMU's user networking, in the machine's folder
    #[command(hide = true)]
    Gate(Gate),
}

#[derive(Debug, Subcommand)]
enum Image {
    /// Makes an image of a root file system that others have made
    Import {
        /// The file or the directory
        source: PathBuf,
        /// The image's name
        #[arg(long)]
        name: banger_api::ImageName,
    },
    /// Makes an image of another one, by a recipe
    Build(ImageBuild),
}

#[derive(Debug, Args)]
struct ImageBuild {
    /// The image's name
    #[arg(long)]
    name: banger_api::ImageName,
    /// The image that it is made of
    #[arg(long, value_name = "IMAGE")]
    from: Option<banger_api::ImageName>,
    /// Adds Docker
    #[arg(long)]
    docker: bool,
    /// A list of packages
    #[arg(long, value_name = "FILE")]
    packages: Option<PathBuf>,
    /// A recipe
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// The size of its root file system
    #[arg(long)]
    size: Option<banger_api::Mib>,
    /// Keeps the VM of a build that fails
    #[arg(long)]
    keep_on_failure: bool,
}

impl From<ImageBuild> for daemon::ImageBuild {
    fn from(build: ImageBuild) -> Self {
        Self {
            name: build.name,
            from: build.from,
            docker: build.docker,
            packages: build.packages,
            recipe: build.recipe,
            size: build.size,
            keep_on_failure: build.keep_on_failure,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Config {
    /// Prints every setting
    Show {
        /// Says where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Says what is wrong with a file
    Check { file: PathBuf },
    /// Takes a file's content as the configuration
    Take { file: PathBuf },
    /// Writes one key
    Set { key: String, value: String },
    /// Removes one key
    Unset { key: String },
}

#[derive(Debug, Args)]
struct Gate {
    /// Its name, by which the daemon finds it
    name: String,
    /// Lets the guest out
    #[arg(long)]
    open: bool,
}

#[derive(Debug, Subcommand)]
enum Bundle {
    /// Makes the bundle: kernel, modules, root file system and guest program
    Build(Build),
    /// Takes the bundle from where a manifest says that it is
    Fetch {
        /// The manifest: `url` and `sha256`
        #[arg(long, value_name = "FILE")]
        manifest: PathBuf,
        /// Where it is put
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Packs the bundle into an archive
    Package {
        /// The archive
        #[arg(
            long,
            value_name = "FILE",
            default_value = "dist/banger-runtime.tar.gz"
        )]
        out: PathBuf,
        /// Where the bundle is
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Build {
    /// Where it is put
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The Debian suite
    #[arg(long, default_value = "trixie")]
    suite: String,
    /// The Debian mirror
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Further packages, by commas
    #[arg(long, value_name = "PKG,…", value_delimiter = ',')]
    include: Vec<String>,
    /// The static guest program, where it does not lie beside this one
    #[arg(long, value_name = "PATH")]
    guest: Option<PathBuf>,
}

fn configure(options: &Options, verb: Config) -> Result<(), banger_api::Error> {
    match verb {
        Config::Show { origin } => configuration::show(options, origin),
        Config::Check { file } => configuration::check(&file),
        Config::Take { file } => configuration::take(options, &file),
        Config::Set { key, value } => configuration::change(options, &key, &Change::Set(value)),
        Config::Unset { key } => configuration::change(options, &key, &Change::Unset),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // This comes first: files that are open now belong to the starter.
    let kept = if cli.detach {
        banger_host::detach()
    } else {
        Vec::new()
    };
    let options = Options {
        wishes: banger_api::location::LocationOptions {
            state: cli.places.state,
            socket: cli.places.socket,
            config: cli.places.config,
            bundle: cli.places.bundle,
        },
        simulated: cli.sim,
        json: cli.json,
        kept,
    };
    let done = match cli.command {
        None => daemon::run(&options),
        Some(Command::Gate(gate)) => bangerd::gate::run(std::path::Path::new(""), gate.open),
        Some(Command::Image(Image::Import { source, name })) => {
            daemon::import(&options, &source, &name)
        }
        Some(Command::Image(Image::Build(build))) => daemon::build_image(&options, &build.into()),
        Some(Command::Config(verb)) => configure(&options, verb),
        Some(Command::Bundle(Bundle::Build(build))) => daemon::build(
            &options,
            daemon::Build {
                dir: build.dir,
                suite: build.suite,
                mirror: build.mirror,
                include: build.include,
                guest: build.guest,
            },
        ),
        Some(Command::Bundle(Bundle::Fetch { manifest, dir })) => {
            daemon::fetch(&options, manifest, dir)
        }
        Some(Command::Bundle(Bundle::Package { out, dir })) => daemon::package(&options, &out, dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            daemon::complain(&error, cli.json);
            ExitCode::from(daemon::status_of_failure())
        }
    }
}
