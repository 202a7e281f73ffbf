//! From recipes to the steps of a build.

use std::path::{Path, PathBuf};

use banger_api::{BuildStep, Code, Error};

use super::fetch::Fetcher;
use super::quote::word;
use super::read::{mode, text};
use super::{Command, Mirrors, OwnFile, PackageList, Recipe, RecipeDownload, Repository};
use crate::error::{During, Result};

/// How long the packages may take to come and to be installed, in seconds: hours on a slow line and an
/// emulated processor.
const PACKAGES: u64 = 4 * 3600;

/// Where certificates of a build are, by the name of their recipe's number.
const CERTIFICATES: &str = "/usr/local/share/ca-certificates";

/// Where an archive is while it is unpacked.
const ARCHIVE: &str = "/var/tmp/banger-build.tar";

/// What a build does besides its recipes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Additions {
    /// Packages instead of those of the recipes' lists.
    pub(crate) packages: Option<PackageList>,
    /// A script that runs last.
    pub(crate) customize: Option<PathBuf>,
}

/// All that goes into an image.
#[derive(Debug, Clone)]
pub(crate) struct Ingredients {
    /// The recipes, in their order.
    pub(crate) recipes: Vec<Recipe>,
    /// What else.
    pub(crate) additions: Additions,
    /// The mirrors of the configuration.
    pub(crate) mirrors: Mirrors,
}

impl Ingredients {
    /// The packages of all recipes.
    #[must_use]
    pub(crate) fn packages(&self) -> PackageList {
        let mut all = self.additions.packages.clone().unwrap_or_default();
        for recipe in &self.recipes {
            if self.additions.packages.is_some() && recipe.keys.packages_file.is_some() {
                all.names.extend(recipe.keys.packages.iter().cloned());
            } else {
                all.names.extend(recipe.packages.names.iter().cloned());
            }
        }
        all
    }

    /// The steps, with everything fetched that they need.
    ///
    /// # Errors
    /// What cannot be fetched or read.
    pub(crate) fn steps(&self, fetcher: &mut Fetcher<'_>) -> Result<Vec<BuildStep>> {
        let mut steps = Vec::new();
        for (number, recipe) in self.recipes.iter().enumerate() {
            steps.extend(recipe.certificates(number)?);
        }
        steps.extend(self.packages_step());
        for recipe in &self.recipes {
            let within = || format!("the recipe `{}`", recipe.name);
            steps.extend(recipe.contents(fetcher).during(within())?);
        }
        if let Some(script) = &self.additions.customize {
            steps.push(customize(script)?);
        }
        for recipe in &self.recipes {
            let commands = recipe.keys.checks.iter();
            steps.extend(commands.map(|it| recipe.command("check", it, fetcher)));
        }
        let temporary = self.recipes.iter().enumerate();
        steps.extend(temporary.filter_map(|(number, it)| it.forget_certificates(number)));
        Ok(steps)
    }

    fn packages_step(&self) -> Option<BuildStep> {
        let packages = self.packages();
        if packages.names.is_empty() {
            return None;
        }
        let names: Vec<String> = packages.names.iter().map(|it| word(it)).collect();
        let script = format!(
            "set -eu\nexport DEBIAN_FRONTEND=noninteractive\n{}\n\
             set -- -q -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600 \"$@\"\n\
             apt-get \"$@\" update\n\
             apt-get \"$@\" install --yes --no-install-recommends {}\n",
            self.mirrors.apt_sources(),
            names.join(" ")
        );
        Some(BuildStep {
            name: format!("packages ({})", names.len()),
            script,
            timeout_seconds: Some(PACKAGES),
            ..BuildStep::default()
        })
    }
}

impl Recipe {
    /// Downloads, repositories, files and commands, in this order.
    fn contents(&self, fetcher: &mut Fetcher<'_>) -> Result<Vec<BuildStep>> {
        let mut steps = Vec::new();
        for download in &self.downloads {
            let file = fetcher.download(download)?;
            steps.push(put_download(download, &file)?);
        }
        for repository in &self.keys.repositories {
            let archive = fetcher.repository(repository)?;
            steps.push(put_repository(repository, &archive)?);
        }
        for file in &self.keys.files {
            steps.push(self.put_file(file)?);
        }
        let commands = self.keys.commands.iter();
        steps.extend(commands.map(|it| self.command("run", it, fetcher)));
        Ok(steps)
    }

    fn put_file(&self, file: &OwnFile) -> Result<BuildStep> {
        let mode = mode(file.mode.as_deref(), "0644")?;
        let (script, input) = match (&file.content, &file.source) {
            (Some(content), _) => {
                let from = format!("printf %s {}", word(content));
                (put(&from, &file.path, &mode), None)
            }
            (None, Some(source)) => {
                let path = self.folder.path(source)?;
                (put("cat", &file.path, &mode), Some(path_text(&path)?))
            }
            (None, None) => return Err(Error::new(Code::Internal, "a file without content")),
        };
        Ok(BuildStep {
            name: format!("file {}", file.path),
            script,
            input,
            ..BuildStep::default()
        })
    }

    fn command(&self, verb: &str, command: &Command, fetcher: &Fetcher<'_>) -> BuildStep {
        let first = command.run.trim().lines().next().unwrap_or_default();
        let name = command.name.as_deref().unwrap_or(first);
        let mut script = "set -eu\nexport HOME=/root DEBIAN_FRONTEND=noninteractive\n".to_owned();
        if let Some(registry) = fetcher.npm_registry() {
            script += &format!("export NPM_REGISTRY={}\n", word(&registry));
        }
        for (name, value) in &self.keys.environment {
            script += &format!("export {name}={}\n", word(value));
        }
        BuildStep {
            name: format!("{verb} {name}"),
            script: script + &command.run,
            timeout_seconds: command.timeout_seconds,
            input: None,
        }
    }

    fn certificates(&self, number: usize) -> Result<Option<BuildStep>> {
        if self.keys.ca_certificates.is_empty() {
            return Ok(None);
        }
        let mut script = format!("set -eu\nmkdir -p {CERTIFICATES}\n");
        for (index, certificate) in self.keys.ca_certificates.iter().enumerate() {
            let pem = self.folder.text(&certificate.file)?;
            if !pem.contains("-----BEGIN CERTIFICATE-----") {
                let what = format!("`{}` is not a certificate in PEM", certificate.file);
                return Err(Error::new(Code::Invalid, what));
            }
            let path = certificate_path(number, index);
            script += &format!("printf %s {} >{path}\n", word(&pem));
        }
        Ok(Some(BuildStep {
            name: "CA certificates".to_owned(),
            script: script + "update-ca-certificates\n",
            ..BuildStep::default()
        }))
    }

    /// Takes those out again that only the build needs.
    fn forget_certificates(&self, number: usize) -> Option<BuildStep> {
        let certificates = self.keys.ca_certificates.iter().enumerate();
        let temporary = certificates.filter(|(_, it)| !it.keep);
        let paths: Vec<String> = temporary
            .map(|(index, _)| certificate_path(number, index))
            .collect();
        (!paths.is_empty()).then(|| BuildStep {
            name: "CA certificates of the build go".to_owned(),
            script: format!(
                "set -eu\nrm -f {}\nupdate-ca-certificates --fresh\n",
                paths.join(" ")
            ),
            ..BuildStep::default()
        })
    }
}

fn certificate_path(recipe: usize, index: usize) -> String {
    format!("{CERTIFICATES}/banger-build-{recipe}-{index}.crt")
}

/// Writes the output of a command into a file, all at once.
fn put(from: &str, to: &str, mode: &str) -> String {
    let aside = word(&format!("{to}.banger-build"));
    format!(
        "set -eu\nmkdir -p \"$(dirname {to})\"\n{from} >{aside}\nchmod {mode} {aside}\nmv {aside} {to}\n",
        to = word(to)
    )
}

fn put_download(download: &RecipeDownload, file: &Path) -> Result<BuildStep> {
    let keys = &download.keys;
    let script = if keys.unpack {
        let strip = keys.strip;
        unpack(&keys.to, &format!("--strip-components={strip}"))
    } else {
        let mode = mode(keys.mode.as_deref(), "0644")?;
        let from = match &keys.member {
            // tar(1) cannot tell the compression of what it reads from a pipe.
            Some(member) => format!(
                "cat >{ARCHIVE}\ntar -xf {ARCHIVE} --to-stdout -- {}",
                word(member)
            ),
            None => "cat".to_owned(),
        };
        put(&from, &keys.to, &mode) + &format!("rm -f {ARCHIVE}\n")
    };
    Ok(BuildStep {
        name: format!("put {}", download.name),
        script,
        input: Some(path_text(file)?),
        ..BuildStep::default()
    })
}

fn put_repository(repository: &Repository, archive: &Path) -> Result<BuildStep> {
    let name = repository.url.rsplit('/').next().unwrap_or_default();
    Ok(BuildStep {
        name: format!("put {name} at {}", &repository.commit[..12]),
        script: unpack(&repository.to, ""),
        input: Some(path_text(archive)?),
        ..BuildStep::default()
    })
}

fn unpack(to: &str, options: &str) -> String {
    format!(
        "set -eu\nmkdir -p {to}\ncat >{ARCHIVE}\n\
         tar -xf {ARCHIVE} --no-same-owner {options} -C {to}\n\
         rm {ARCHIVE}\n",
        to = word(to)
    )
}

fn customize(script: &Path) -> Result<BuildStep> {
    let doing = || format!("read `customize_script`, `{}`", script.display());
    text(script).during(doing())?;
    Ok(BuildStep {
        name: "customize_script".to_owned(),
        // A program may be anything with a first line that says so.
        script: "set -eu\nexport HOME=/root DEBIAN_FRONTEND=noninteractive\n\
                 cat >/var/tmp/banger-customize\nchmod 700 /var/tmp/banger-customize\n\
                 /var/tmp/banger-customize </dev/null\nrm -f /var/tmp/banger-customize\n"
            .to_owned(),
        input: Some(path_text(script)?),
        ..BuildStep::default()
    })
}

fn path_text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::new(Code::Invalid, format!("{path:?} is not text")))
}
