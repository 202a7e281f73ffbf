//! The lines of a form, and what is wrong with what is typed in them.

use banger_api::{ImageName, InvalidName, Mib, VmName, VmSpec, VolumeName, limits};
use tui_input::Input;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The name of a VM that there is not yet.
    Name,
    /// An image that there is.
    Image,
    /// The name of an image that there is not yet.
    NewImage,
    /// The name of a volume that there is not yet.
    NewVolume,
    Vcpu,
    Memory,
    Disk,
    SystemDisk,
    /// A size.
    Size,
    Labels,
    Volumes,
    /// A file of this machine.
    File,
    /// A file of this machine, or the name of an image in a registry.
    Source,
    /// The words of a command of banger.
    Command,
    Nat,
    Autostart,
    Protected,
    Start,
    /// Something that is on or off.
    Switch,
}

/// What a field is on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Nothing: the form is no command.
    None,
    /// A word of its own.
    Argument,
    /// The value of this option.
    Option(&'static str),
    /// This option, where it is on.
    Flag(&'static str),
}

/// A line of a form.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) kind: Kind,
    pub(crate) label: &'static str,
    /// What is typed; `on` or `off` in a switch.
    pub(crate) input: Input,
    /// What holds where nothing is typed.
    pub(crate) default: String,
    /// What is wrong with it.
    pub(crate) error: Option<String>,
    /// What it is on a command line.
    pub(super) word: Word,
    /// Whether something has to be typed.
    pub(super) is_needed: bool,
}

/// What a form is judged by: what there is already.
#[derive(Debug, Default)]
pub(crate) struct Surroundings<'m> {
    /// The names that are taken.
    pub(crate) names: Vec<&'m VmName>,
    /// The images, where they are known.
    pub(crate) images: Vec<&'m ImageName>,
    /// The volumes, where they are known.
    pub(crate) volumes: Vec<&'m VolumeName>,
}

/// A switch's value as text.
pub(super) fn switch(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

impl Field {
    pub(super) fn new(kind: Kind, label: &'static str, default: &str) -> Self {
        Self {
            kind,
            label,
            input: Input::default(),
            default: default.to_owned(),
            error: None,
            word: Word::None,
            is_needed: false,
        }
    }

    /// With this value.
    pub(super) fn holding(mut self, value: &str) -> Self {
        self.input = Input::new(value.to_owned());
        self
    }

    /// As this on a command line.
    pub(super) fn on_the_line(mut self, word: Word) -> Self {
        self.word = word;
        self
    }

    /// Something has to be typed.
    pub(super) fn needed(mut self) -> Self {
        self.is_needed = true;
        self
    }

    /// Whether it is on or off, and nothing is typed.
    pub(crate) fn is_switch(&self) -> bool {
        matches!(
            self.kind,
            Kind::Nat | Kind::Autostart | Kind::Protected | Kind::Start | Kind::Switch
        )
    }

    pub(super) fn text(&self) -> Option<&str> {
        Some(self.input.value().trim()).filter(|it| !it.is_empty())
    }

    pub(super) fn is_on(&self) -> bool {
        self.text().unwrap_or(&self.default) == "on"
    }

    /// Judges what is typed; `before` is what a VM has whose settings these are.
    pub(super) fn judge(&mut self, before: Option<&VmSpec>, around: &Surroundings<'_>) {
        self.error = self.judged(before, around).err();
    }

    fn judged(&self, before: Option<&VmSpec>, around: &Surroundings<'_>) -> Result<(), String> {
        let Some(text) = self.text() else {
            return if self.is_needed {
                Err(format!("{} is required", self.label))
            } else {
                Ok(())
            };
        };
        match self.kind {
            Kind::Name | Kind::Image | Kind::NewImage | Kind::NewVolume => {
                judged_name(self.kind, text, around)
            }
            Kind::Vcpu => {
                let count = text
                    .parse()
                    .map_err(|_| format!("{text:?} is not a number"))?;
                limits::vcpu(count).map(drop)
            }
            Kind::Memory => {
                let memory = size(text)?;
                if before.is_none_or(|before| before.memory != memory) {
                    limits::memory(memory)?;
                }
                Ok(())
            }
            Kind::Disk => grows(text, before.map(|it| it.disk_size)),
            Kind::SystemDisk => grows(text, before.map(|it| it.system_disk_size)),
            Kind::Size => limits::disk(size(text)?).map(drop),
            Kind::Labels => label_pairs(text).try_for_each(|it| it.map(drop)),
            Kind::Volumes => volume_pairs(text).try_for_each(|it| {
                let (name, _) = it?;
                if !around.volumes.is_empty() && !around.volumes.contains(&&name) {
                    return Err(format!("there is no volume `{name}`"));
                }
                Ok(())
            }),
            Kind::Command => match crate::quote::split(text)?.first().map(String::as_str) {
                Some("tui") => Err("this is it".to_owned()),
                _ => Ok(()),
            },
            Kind::File | Kind::Source | Kind::Nat | Kind::Autostart => Ok(()),
            Kind::Protected | Kind::Start | Kind::Switch => Ok(()),
        }
    }
}

fn judged_name(kind: Kind, text: &str, around: &Surroundings<'_>) -> Result<(), String> {
    let wrong = |wrong: InvalidName| wrong.to_string();
    match kind {
        Kind::Name => {
            let name: VmName = text.parse().map_err(wrong)?;
            if around.names.contains(&&name) {
                return Err(format!("there is a VM `{name}` already"));
            }
        }
        Kind::NewVolume => {
            let name: VolumeName = text.parse().map_err(wrong)?;
            if around.volumes.contains(&&name) {
                return Err(format!("there is a volume `{name}` already"));
            }
        }
        _ => {
            let image: ImageName = text.parse().map_err(wrong)?;
            let is_there = around.images.contains(&&image);
            if kind == Kind::NewImage && (is_there || image.is_default()) {
                return Err(format!("there is an image `{image}` already"));
            }
            if kind == Kind::Image && !around.images.is_empty() && !is_there {
                return Err(format!("there is no image `{image}`"));
            }
        }
    }
    Ok(())
}

fn size(text: &str) -> Result<Mib, String> {
    text.parse::<Mib>().map_err(|wrong| wrong.to_string())
}

fn grows(text: &str, before: Option<Mib>) -> Result<(), String> {
    let size = size(text)?;
    limits::disk(size)?;
    match before {
        Some(before) if size < before => Err(format!("a disk only grows, and it has {before}")),
        _ => Ok(()),
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|it| !it.is_empty())
}

/// The labels of a field.
pub(super) fn label_pairs(text: &str) -> impl Iterator<Item = Result<(String, String), String>> {
    parts(text).map(|part| {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("{part:?} is not a label: write it as key=value"))?;
        limits::label(key, value)?;
        Ok((key.to_owned(), value.to_owned()))
    })
}

/// The volumes of a field, and where they are mounted.
pub(super) fn volume_pairs(
    text: &str,
) -> impl Iterator<Item = Result<(VolumeName, String), String>> {
    parts(text).map(|part| {
        let (name, mount) = part
            .split_once(':')
            .ok_or_else(|| format!("{part:?} is not a volume: write it as name:/path"))?;
        let name: VolumeName = name
            .parse()
            .map_err(|wrong: InvalidName| wrong.to_string())?;
        limits::mount(mount)?;
        Ok((name, mount.to_owned()))
    })
}
