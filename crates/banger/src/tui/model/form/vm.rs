//! The forms of VMs: a new one, other settings, another name.

use std::collections::BTreeMap;

use banger_api::{
    CreateVm, ImageName, LabelsPatch, Mib, VmSpec, VmSpecPatch, VmView, VolumesPatch,
};

use super::field::{Field, Kind, label_pairs, switch, volume_pairs};
use super::{Form, Purpose};
use crate::tui::model::message::{Act, Defaults, Job};

/// What a field of volumes says where nothing is typed.
const NO_VOLUMES: &str = "none; name:/path, …";
/// The same of labels.
const NO_LABELS: &str = "none; key=value, …";

impl Form {
    /// A form for a new VM.
    pub(crate) fn create(defaults: &Defaults, image: Option<&ImageName>) -> Self {
        let image_field = Field::new(Kind::Image, "image", "");
        let fields = vec![
            Field::new(Kind::Name, "name", "a generated name of two words"),
            match image {
                Some(image) => image_field.holding(image.as_str()),
                None => image_field,
            },
            Field::new(Kind::Vcpu, "vCPUs", ""),
            Field::new(Kind::Memory, "memory", ""),
            Field::new(Kind::Disk, "work disk", ""),
            Field::new(Kind::SystemDisk, "system disk", ""),
            Field::new(Kind::Labels, "labels", NO_LABELS),
            Field::new(Kind::Nat, "NAT", "off"),
            Field::new(Kind::Autostart, "autostart", "off"),
            Field::new(Kind::Protected, "protected", "off"),
            Field::new(Kind::Volumes, "volumes", NO_VOLUMES),
            Field::new(Kind::Start, "start it", "on"),
        ];
        let mut form = Self {
            purpose: Purpose::Create,
            title: "create a VM".to_owned(),
            name: "the new VM".to_owned(),
            fields,
            at: 0,
        };
        form.renew(defaults);
        form
    }

    /// Shows these defaults of a new VM; what is typed stays.
    pub(crate) fn renew(&mut self, defaults: &Defaults) {
        if self.purpose != Purpose::Create {
            return;
        }
        for field in &mut self.fields {
            let default = match field.kind {
                Kind::Image => &defaults.image,
                Kind::Vcpu => &defaults.vcpu,
                Kind::Memory => &defaults.memory,
                Kind::Disk => &defaults.disk_size,
                Kind::SystemDisk => &defaults.system_disk_size,
                Kind::Nat => switch(defaults.nat),
                _ => continue,
            };
            default.clone_into(&mut field.default);
        }
    }

    /// A form with the settings of a VM.
    pub(crate) fn set(vm: &VmView) -> Self {
        let spec = vm.next();
        let volumes = spec.volumes.iter();
        let volumes: Vec<_> = volumes
            .map(|(name, path)| format!("{name}:{path}"))
            .collect();
        let fields = vec![
            Field::new(Kind::Vcpu, "vCPUs", &spec.vcpu.to_string()),
            Field::new(Kind::Memory, "memory", &spec.memory.to_string()),
            Field::new(Kind::Disk, "work disk", &spec.disk_size.to_string()),
            Field::new(
                Kind::SystemDisk,
                "system disk",
                &spec.system_disk_size.to_string(),
            ),
            Field::new(Kind::Labels, "labels", NO_LABELS).holding(&spec.label_texts().join(", ")),
            Field::new(Kind::Nat, "NAT", switch(spec.nat)),
            Field::new(Kind::Autostart, "autostart", switch(spec.autostart)),
            Field::new(Kind::Protected, "protected", switch(spec.protected)),
            Field::new(Kind::Volumes, "volumes", NO_VOLUMES).holding(&volumes.join(", ")),
        ];
        Self {
            purpose: Purpose::Set(vm.id, Box::new(spec.clone())),
            title: format!("settings of {}", vm.name),
            name: vm.name.to_string(),
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
            name: vm.name.to_string(),
            fields: vec![field.needed()],
            at: 0,
        }
    }

    /// What is done once the form is complete.
    pub(super) fn vm_job(&self) -> Job {
        let name = self.text(Kind::Name);
        match &self.purpose {
            Purpose::Set(vm, before) => Job {
                vm: Some(*vm),
                name: self.name.clone(),
                act: Act::Set(self.patch(Some(before))),
            },
            Purpose::Rename(vm) => Job {
                vm: Some(*vm),
                name: self.name.clone(),
                act: Act::Rename(name.unwrap_or_default()),
            },
            Purpose::Create | Purpose::Command(_) | Purpose::Typed(_) => Job {
                vm: None,
                name: name.clone().unwrap_or_else(|| self.name.clone()),
                act: Act::Create(CreateVm {
                    name,
                    image: self.text(Kind::Image),
                    spec: self.patch(None),
                    no_start: !self.is_on(Kind::Start),
                    temporary: false,
                }),
            },
        }
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
            volumes: self.volumes(before),
            labels: self.labels(before),
        }
    }

    fn labels(&self, before: Option<&VmSpec>) -> LabelsPatch {
        let text = self.text(Kind::Labels).unwrap_or_default();
        let wanted = label_pairs(&text).flatten().collect();
        let (add, remove) = difference(before.map(|it| &it.labels), wanted);
        LabelsPatch { add, remove }
    }

    fn volumes(&self, before: Option<&VmSpec>) -> VolumesPatch {
        let text = self.text(Kind::Volumes).unwrap_or_default();
        let wanted = volume_pairs(&text).flatten().collect();
        let (add, remove) = difference(before.map(|it| &it.volumes), wanted);
        let remove = remove.into_iter().map(String::from).collect();
        VolumesPatch { add, remove }
    }
}

/// What is new or otherwise, and the keys that are gone.
fn difference<K: Ord + Clone>(
    before: Option<&BTreeMap<K, String>>,
    mut wanted: BTreeMap<K, String>,
) -> (BTreeMap<K, String>, Vec<K>) {
    let before = before.into_iter().flatten();
    let gone = before.clone().filter(|it| !wanted.contains_key(it.0));
    let gone = gone.map(|it| it.0.clone()).collect();
    let same: Vec<K> = before
        .filter(|(key, value)| wanted.get(*key) == Some(value))
        .map(|it| it.0.clone())
        .collect();
    wanted.retain(|key, _| !same.contains(key));
    (wanted, gone)
}
