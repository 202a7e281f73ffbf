//! A recipe's file, and what is wrong with it.

use std::path::{Component, Path, PathBuf};

use banger_api::{Code, Error};

use super::{
    Command, DownloadKeys, Folder, Keys, Origin, PackageList, Recipe, RecipeDownload, Repository,
    SHIPPED,
};
use crate::download::Digest;
use crate::error::{During, Result};

/// The largest recipe, and the largest file of its own that is text, in bytes.
const LARGEST: u64 = 1 << 20;

/// The longest time that a command may have, in seconds.
const LONGEST: u64 = 86_400;

fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::Invalid, what)
}

impl Recipe {
    /// The recipe in this file.
    ///
    /// # Errors
    /// `not-found`, or `invalid` with what is wrong in it, and where.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let doing = || format!("read the recipe `{}`", path.display());
        let text = text(path).during(doing())?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let name = path.display().to_string();
        Self::of(name, Folder::OnDisk(folder), &text).during(doing())
    }

    /// The recipe that comes with this program: tools for a developer.
    ///
    /// # Errors
    /// None, unless this program was built with a wrong one.
    pub(crate) fn shipped() -> Result<Self> {
        Self::shipped_as("default.toml")
    }

    /// The other recipe that comes with this program: Docker, with compose and buildx.
    ///
    /// # Errors
    /// As [`Self::shipped`].
    pub(crate) fn docker() -> Result<Self> {
        Self::shipped_as("docker.toml")
    }

    /// Where it is from.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn shipped_as(name: &str) -> Result<Self> {
        let text = shipped(name)?;
        Self::of(name.to_owned(), Folder::Shipped, text).during(format!("read `{name}`"))
    }

    fn of(name: String, folder: Folder, text: &str) -> Result<Self> {
        let keys: Keys = toml::from_str(text).map_err(|cause| {
            invalid("it is not a recipe")
                .cause(cause.to_string())
                .hint("see what a recipe may say: docs/recipes.md")
        })?;
        let mut recipe = Self {
            name,
            folder,
            packages: PackageList::default(),
            downloads: Vec::new(),
            keys,
        };
        recipe.read_packages()?;
        let downloads = recipe.keys.downloads.iter();
        recipe.downloads = downloads.cloned().map(download).collect::<Result<_>>()?;
        recipe.check()?;
        Ok(recipe)
    }

    fn read_packages(&mut self) -> Result<()> {
        if let Some(file) = &self.keys.packages_file {
            let list = PackageList::read(&self.folder.text(file)?);
            let list = list.during(format!("read `{file}`"))?;
            let digest = list.digest();
            if let Some(expected) = &self.keys.packages_sha256
                && *expected != digest
            {
                return Err(invalid(format!(
                    "`{file}` is not the list that the recipe was written for"
                ))
                .cause(format!("its digest is {digest}, and not {expected}"))
                .hint("look at what has changed in it, and write the new digest into the recipe"));
            }
            self.packages = list;
        }
        for name in &self.keys.packages {
            self.packages.add(name)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        for name in self.keys.environment.keys() {
            let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
            if !name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
                || !name.chars().all(is_name)
            {
                return Err(invalid(format!("{name:?} is not the name of a variable")));
            }
        }
        for file in &self.keys.files {
            let doing = || format!("file `{}`", file.path.escape_debug());
            plain(&file.path).during(doing())?;
            mode(file.mode.as_deref(), "0644").during(doing())?;
            if file.content.is_some() == file.source.is_some() {
                return Err(invalid("give either `content` or `source`").within(doing()));
            }
        }
        self.keys
            .repositories
            .iter()
            .try_for_each(check_repository)?;
        let commands = self.keys.commands.iter().chain(&self.keys.checks);
        commands.cloned().try_for_each(|it| check_command(&it))
    }
}

impl Folder {
    /// A file of the recipe's own, as text.
    pub(super) fn text(&self, file: &str) -> Result<String> {
        match self {
            Self::OnDisk(folder) => text(&folder.join(file)).during(format!("read `{file}`")),
            Self::Shipped => shipped(file).map(str::to_owned),
        }
    }

    /// A file of the recipe's own, by its absolute path.
    pub(super) fn path(&self, file: &str) -> Result<PathBuf> {
        let found = match self {
            Self::OnDisk(folder) => folder.join(file).canonicalize(),
            Self::Shipped => Err(std::io::ErrorKind::NotFound.into()),
        };
        found.map_err(|cause| {
            Error::new(
                Code::NotFound,
                format!("there is no file `{file}` beside the recipe"),
            )
            .cause(cause.to_string())
        })
    }
}

fn shipped(name: &str) -> Result<&'static str> {
    let found = SHIPPED.iter().find(|(file, _)| *file == name);
    found
        .map(|(_, text)| *text)
        .ok_or_else(|| Error::new(Code::Internal, format!("there is no shipped file `{name}`")))
}

/// A file of the user's, as text.
pub(super) fn text(path: &Path) -> Result<String> {
    let unreadable = |cause: std::io::Error| {
        let code = match cause.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Host,
        };
        Error::new(code, "it cannot be read").cause(cause.to_string())
    };
    let found = path.metadata().map_err(unreadable)?;
    // Opening a FIFO would wait for a writer.
    if !found.is_file() || found.len() > LARGEST {
        return Err(invalid("it is not a text file of at most 1 MiB"));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn download(keys: DownloadKeys) -> Result<RecipeDownload> {
    let (name, origin) = match (&keys.url, &keys.npm) {
        (Some(url), None) => {
            let name = url.rsplit('/').next().unwrap_or_default();
            let name = name.split(['?', '#']).next().unwrap_or_default();
            (name.to_owned(), Origin::Url(url.clone()))
        }
        (None, Some(npm)) => {
            let (package, version) = npm_package(npm)?;
            (npm.clone(), Origin::Npm { package, version })
        }
        _ => return Err(invalid("a download has either `url` or `npm`")),
    };
    let doing = || format!("download `{}`", name.escape_debug());
    plain(&keys.to).during(doing())?;
    mode(keys.mode.as_deref(), "0644").during(doing())?;
    if keys.member.is_some() && keys.unpack {
        return Err(invalid("give either `member` or `unpack`").within(doing()));
    }
    if keys.strip > 0 && !keys.unpack {
        return Err(invalid("`strip` is for `unpack` only").within(doing()));
    }
    let sha256 = Digest::parse(&keys.sha256).during(doing())?;
    Ok(RecipeDownload {
        name,
        origin,
        sha256,
        keys,
    })
}

/// `NAME@VERSION`, where a name may have a scope.
fn npm_package(text: &str) -> Result<(String, String)> {
    let wrong = || {
        invalid(format!("`{}` is not an npm package", text.escape_debug()))
            .hint("write its name and version: @scope/name@1.2.3")
    };
    let legal = |it: char| it.is_ascii_alphanumeric() || "-._~@/".contains(it);
    let (package, version) = text.rsplit_once('@').ok_or_else(wrong)?;
    let name = match package.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').ok_or_else(wrong)?.1,
        None => package,
    };
    let is_plain = |it: &str| !it.is_empty() && !it.starts_with('.') && !it.contains(['/', '@']);
    if text.chars().all(legal) && is_plain(name) && is_plain(version) {
        return Ok((package.to_owned(), version.to_owned()));
    }
    Err(wrong())
}

fn check_repository(repository: &Repository) -> Result<()> {
    let doing = || format!("git `{}`", repository.url.escape_debug());
    plain(&repository.to).during(doing())?;
    let commit = &repository.commit;
    if commit.len() != 40
        || !commit
            .bytes()
            .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    {
        return Err(
            invalid(format!("`{}` is not a commit", commit.escape_debug()))
                .hint("a commit has 40 hexadecimal digits: git rev-parse HEAD")
                .within(doing()),
        );
    }
    let known = ["https://", "http://", "ssh://", "git://", "file://"];
    if !known.iter().any(|it| repository.url.starts_with(it))
        || repository.url.chars().any(char::is_control)
    {
        let what = "its address begins with none of https://, http://, ssh://, git://, file://";
        return Err(invalid(what).within(doing()));
    }
    Ok(())
}

fn check_command(command: &Command) -> Result<()> {
    let seconds = command.timeout_seconds.unwrap_or(1);
    if !(1..=LONGEST).contains(&seconds) {
        let what = format!("`timeout_seconds` is {seconds}; it takes 1 to {LONGEST}");
        return Err(invalid(what));
    }
    if command.run.contains('\0') || command.run.len() > 90_000 {
        return Err(invalid("a command has a NUL, or more than 90000 bytes"));
    }
    Ok(())
}

/// An absolute path in the image that means the same to everybody.
fn plain(path: &str) -> Result<()> {
    let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if path.starts_with('/')
        && path.len() > 1
        && !path.ends_with('/')
        && Path::new(path).components().all(is_plain)
        && !path.chars().any(char::is_control)
    {
        return Ok(());
    }
    Err(invalid(format!(
        "`{}` is not an absolute path without `..`",
        path.escape_debug()
    )))
}

/// Permission bits, as chmod(1) takes them.
pub(super) fn mode(text: Option<&str>, usual: &'static str) -> Result<String> {
    let text = text.unwrap_or(usual);
    let is_octal = text.bytes().all(|it| matches!(it, b'0'..=b'7'));
    if is_octal && (3..=5).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(invalid(format!(
        "the mode {text:?} is not octal, such as \"0755\""
    )))
}
