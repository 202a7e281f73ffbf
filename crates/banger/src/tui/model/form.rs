//! Forms: to create a VM, to change its settings, to rename it. What is typed is judged at once.

use banger_api::{
    CreateVm, ImageName, LabelsPatch, Mib, VmId, VmName, VmSpec, VmSpecPatch, VmView, limits,
};
use crossterm::event::{Event, KeyCode, KeyEvent};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler as _;

use super::message::{Act, Defaults, Job};

/// What a form is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new VM.
    Create,
    /// Other settings of this VM, which has these now.
    Set(VmId, Box<VmSpec>),
    /// Another name of this VM.
    Rename(VmId),
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Image,
    Vcpu,
    Memory,
    Disk,
    SystemDisk,
    Labels,
    Nat,
    Autostart,
    Protected,
    Start,
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
}

impl Field {
    fn new(kind: Kind, label: &'static str, default: &str) -> Self {
        Self {
            kind,
            label,
            input: Input::default(),
            default: default.to_owned(),
            error: None,
        }
    }

    fn holding(mut self, value: &str) -> Self {
        self.input = Input::new(value.to_owned());
        self
    }

    /// Whether it is on or off, and nothing is typed.
    pub(crate) fn is_switch(&self) -> bool {
        matches!(
            self.kind,
            Kind::Nat | Kind::Autostart | Kind::Protected | Kind::Start
        )
    }

    fn text(&self) -> Option<&str> {
        Some(self.input.value().trim()).filter(|it| !it.is_empty())
    }

    fn is_on(&self) -> bool {
        self.text().unwrap_or(&self.default) == "on"
    }
}

/// What a form is judged by: what there is already.
#[derive(Debug)]
pub(crate) struct Surroundings<'m> {
    /// The names that are taken.
    pub(crate) names: Vec<&'m VmName>,
    /// The images, where they are known.
    pub(crate) images: Vec<&'m ImageName>,
}

/// A form.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) purpose: Purpose,
    pub(crate) title: String,
    pub(crate) fields: Vec<Field>,
    /// The field that is typed in.
    pub(crate) at: usize,
}

/// What a key has done to a form.
#[derive(Debug, PartialEq)]
pub(crate) enum FormOutcome {
    /// It goes on.
    Open,
    /// It is closed without an act.
    Cancelled,
    /// It is complete.
    Complete(Box<Job>),
}

fn switch(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

impl Form {
    /// A form for a new VM.
    pub(crate) fn create(defaults: &Defaults, image: Option<&ImageName>) -> Self {
        let image_field = Field::new(Kind::Image, "image", &defaults.image);
        let fields = vec![
            Field::new(Kind::Name, "name", "two words that are made up"),
            match image {
                Some(image) => image_field.holding(image.as_str()),
                None => image_field,
            },
            Field::new(Kind::Vcpu, "vCPUs", &defaults.vcpu),
            Field::new(Kind::Memory, "memory", &defaults.memory),
            Field::new(Kind::Disk, "work disk", &defaults.disk_size),
            Field::new(Kind::SystemDisk, "system disk", &defaults.system_disk_size),
            Field::new(Kind::Labels, "labels", "none; key=value, …"),
            Field::new(Kind::Nat, "NAT", switch(defaults.nat)),
            Field::new(Kind::Autostart, "autostart", "off"),
            Field::new(Kind::Protected, "protected", "off"),
            Field::new(Kind::Start, "start it", "on"),
        ];
        Self {
            purpose: Purpose::Create,
            title: "create a VM".to_owned(),
            fields,
            at: 0,
        }
    }

    /// A form with the settings of a VM.
    pub(crate) fn set(vm: &VmView) -> Self {
        let spec = vm.next();
        let fields = vec![
            Field::new(Kind::Vcpu, "vCPUs", &spec.vcpu.to_string()),
            Field::new(Kind::Memory, "memory", &spec.memory.to_string()),
            Field::new(Kind::Disk, "work disk", &spec.disk_size.to_string()),
            Field::new(
                Kind::SystemDisk,
                "system disk",
                &spec.system_disk_size.to_string(),
            ),
            Field::new(Kind::Labels, "labels", "none; key=value, …")
                .holding(&spec.label_texts().join(", ")),
            Field::new(Kind::Nat, "NAT", switch(spec.nat)),
            Field::new(Kind::Autostart, "autostart", switch(spec.autostart)),
            Field::new(Kind::Protected, "protected", switch(spec.protected)),
        ];
        Self {
            purpose: Purpose::Set(vm.id, Box::new(spec.clone())),
            title: format!("settings of {}", vm.name),
            fields,
            at: 0,
        }
    }

    /// A form for another name.
    pub(crate) fn rename(vm: &VmView) -> Self {
        let field = Field::new(Kind::Name, "new name", "").holding(vm.name.as_str());
        Self {
            purpose: Purpose::Rename(vm.id),
            title: format!("rename {}", vm.name),
            fields: vec![field],
            at: 0,
        }
    }

    /// What a key does.
    pub(crate) fn key(&mut self, key: KeyEvent, around: &Surroundings<'_>) -> FormOutcome {
        let count = self.fields.len();
        let is_switch = self.fields[self.at].is_switch();
        match key.code {
            KeyCode::Esc => return FormOutcome::Cancelled,
            KeyCode::Enter => return self.complete(around),
            KeyCode::Down | KeyCode::Tab => self.at = (self.at + 1) % count,
            KeyCode::Up | KeyCode::BackTab => self.at = (self.at + count - 1) % count,
            KeyCode::Char(' ') | KeyCode::Left | KeyCode::Right if is_switch => {
                let field = &mut self.fields[self.at];
                field.input = Input::new(switch(!field.is_on()).to_owned());
            }
            KeyCode::Left | KeyCode::Right
                if self.fields[self.at].kind == Kind::Image && !around.images.is_empty() =>
            {
                self.turn_image(key.code == KeyCode::Right, around);
            }
            _ if is_switch => {}
            _ => {
                self.fields[self.at].input.handle_event(&Event::Key(key));
            }
        }
        self.judge(around);
        FormOutcome::Open
    }

    /// Text that was pasted.
    pub(crate) fn paste(&mut self, text: &str, around: &Surroundings<'_>) {
        let field = &mut self.fields[self.at];
        if !field.is_switch() {
            let line = text.lines().next().unwrap_or_default();
            let value = format!("{}{line}", field.input.value());
            field.input = Input::new(value);
            self.judge(around);
        }
    }

    /// The next image of those that there are, or the previous one.
    fn turn_image(&mut self, forward: bool, around: &Surroundings<'_>) {
        let field = &mut self.fields[self.at];
        let now = field.text().unwrap_or(&field.default).to_owned();
        let count = around.images.len();
        let at = around.images.iter().position(|it| it.as_str() == now);
        let next = match (at, forward) {
            (None, _) => 0,
            (Some(at), true) => (at + 1) % count,
            (Some(at), false) => (at + count - 1) % count,
        };
        field.input = Input::new(around.images[next].to_string());
    }

    /// Judges every field.
    pub(crate) fn judge(&mut self, around: &Surroundings<'_>) {
        let before = match &self.purpose {
            Purpose::Set(_, spec) => Some(spec.clone()),
            Purpose::Create | Purpose::Rename(_) => None,
        };
        for field in &mut self.fields {
            field.error = judged(field, before.as_deref(), around).err();
        }
    }

    fn complete(&mut self, around: &Surroundings<'_>) -> FormOutcome {
        self.judge(around);
        if let Some(wrong) = self.fields.iter().position(|it| it.error.is_some()) {
            self.at = wrong;
            return FormOutcome::Open;
        }
        let name = self.text(Kind::Name);
        let job = match &self.purpose {
            Purpose::Create => Job {
                vm: None,
                name: name.clone().unwrap_or_else(|| "the new VM".to_owned()),
                act: Act::Create(CreateVm {
                    name,
                    image: self.text(Kind::Image),
                    spec: self.patch(None),
                    no_start: !self.is_on(Kind::Start),
                    temporary: false,
                }),
            },
            Purpose::Set(vm, before) => Job {
                vm: Some(*vm),
                name: self.title.trim_start_matches("settings of ").to_owned(),
                act: Act::Set(self.patch(Some(before))),
            },
            Purpose::Rename(vm) => Job {
                vm: Some(*vm),
                name: self.title.trim_start_matches("rename ").to_owned(),
                act: Act::Rename(name.unwrap_or_default()),
            },
        };
        FormOutcome::Complete(Box::new(job))
    }

    fn field(&self, kind: Kind) -> Option<&Field> {
        self.fields.iter().find(|it| it.kind == kind)
    }

    fn text(&self, kind: Kind) -> Option<String> {
        self.field(kind)?.text().map(str::to_owned)
    }

    fn is_on(&self, kind: Kind) -> bool {
        self.field(kind).is_some_and(Field::is_on)
    }

    fn size(&self, kind: Kind) -> Option<Mib> {
        self.field(kind)?.text()?.parse().ok()
    }

    fn patch(&self, before: Option<&VmSpec>) -> VmSpecPatch {
        let chosen = |kind: Kind| {
            let field = self.field(kind)?;
            field.text().map(|it| it == "on")
        };
        VmSpecPatch {
            vcpu: self.text(Kind::Vcpu).and_then(|it| it.parse().ok()),
            memory: self.size(Kind::Memory),
            disk_size: self.size(Kind::Disk),
            system_disk_size: self.size(Kind::SystemDisk),
            nat: chosen(Kind::Nat),
            protected: chosen(Kind::Protected),
            autostart: chosen(Kind::Autostart),
            volumes: banger_api::VolumesPatch::default(),
            labels: self.labels(before),
        }
    }

    fn labels(&self, before: Option<&VmSpec>) -> LabelsPatch {
        let text = self.text(Kind::Labels).unwrap_or_default();
        let wanted: std::collections::BTreeMap<_, _> = label_pairs(&text).flatten().collect();
        let old = before.map(|it| &it.labels);
        let mut patch = LabelsPatch::default();
        for key in old.into_iter().flat_map(|it| it.keys()) {
            if !wanted.contains_key(key) {
                patch.remove.push(key.clone());
            }
        }
        for (key, value) in wanted {
            if old.and_then(|it| it.get(&key)) != Some(&value) {
                patch.add.insert(key, value);
            }
        }
        patch
    }
}

fn label_pairs(text: &str) -> impl Iterator<Item = Result<(String, String), String>> {
    let parts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    parts.map(|part| {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("{part:?} is no label: write it as key=value"))?;
        limits::label(key, value)?;
        Ok((key.to_owned(), value.to_owned()))
    })
}

fn judged(field: &Field, before: Option<&VmSpec>, around: &Surroundings<'_>) -> Result<(), String> {
    let Some(text) = field.text() else {
        let is_needed = field.kind == Kind::Name && field.default.is_empty();
        return if is_needed {
            Err("a name is needed".to_owned())
        } else {
            Ok(())
        };
    };
    let size = || text.parse::<Mib>().map_err(|wrong| wrong.to_string());
    let grows = |before: Option<Mib>| {
        let size = size()?;
        limits::disk(size)?;
        match before {
            Some(before) if size < before => Err(format!("a disk only grows, and it has {before}")),
            _ => Ok(()),
        }
    };
    match field.kind {
        Kind::Name => {
            let name: VmName = text
                .parse()
                .map_err(|wrong: banger_api::InvalidName| wrong.to_string())?;
            if around.names.contains(&&name) {
                return Err(format!("there is a VM `{name}` already"));
            }
        }
        Kind::Image => {
            let image: ImageName = text
                .parse()
                .map_err(|wrong: banger_api::InvalidName| wrong.to_string())?;
            if !around.images.is_empty() && !around.images.contains(&&image) {
                return Err(format!("there is no image `{image}`"));
            }
        }
        Kind::Vcpu => {
            let count = text.parse().map_err(|_| format!("{text:?} is no number"))?;
            limits::vcpu(count)?;
        }
        Kind::Memory => {
            let memory = size()?;
            if before.is_none_or(|before| before.memory != memory) {
                limits::memory(memory)?;
            }
        }
        Kind::Disk => grows(before.map(|it| it.disk_size))?,
        Kind::SystemDisk => grows(before.map(|it| it.system_disk_size))?,
        Kind::Labels => label_pairs(text).try_for_each(|it| it.map(drop))?,
        Kind::Nat | Kind::Autostart | Kind::Protected | Kind::Start => {}
    }
    Ok(())
}
