//! The settings of a VM: [`VmSpec`], complete, in records, views and the configuration's defaults;
//! and [`VmSpecPatch`], the changes of a create or a set.
//!
//! A new setting is a field of both, a line of [`VmSpec::apply`], and a range in [`VmSpec::check`]
//! if it has one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Mib, VolumeName, limits};

/// The settings of a VM, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmSpec {
    /// The number of virtual CPUs.
    pub vcpu: u32,
    /// The memory, in MiB.
    #[serde(rename = "memory_mib")]
    pub memory: Mib,
    /// The size of the work disk (`/root`), in MiB.
    #[serde(rename = "disk_size_mib")]
    pub disk_size: Mib,
    /// The size of the system disk (`/`), in MiB.
    #[serde(rename = "system_disk_size_mib")]
    pub system_disk_size: Mib,
    /// Whether the VM reaches the outside through the host.
    pub nat: bool,
    /// Whether delete and kill are rejected.
    #[serde(default)]
    pub protected: bool,
    /// Whether the VM starts when the host boots, with the first daemon.
    #[serde(default)]
    pub autostart: bool,
    /// Labels for people and programs; neither the machine nor its guest sees them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The volumes that it has, each with the directory where it is mounted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = BTreeMap<String, String>))]
    pub volumes: BTreeMap<VolumeName, String>,
}

/// Changes to a [`VmSpec`]. Omitted settings stay as they are. Disks only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct VmSpecPatch {
    /// The number of virtual CPUs.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 64))]
    pub vcpu: Option<u32>,
    /// The memory, in MiB.
    #[serde(rename = "memory_mib")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u64>, minimum = 192, maximum = 67_108_864))]
    pub memory: Option<Mib>,
    /// The size of the work disk (`/root`), in MiB.
    #[serde(rename = "disk_size_mib")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u64>, minimum = 64, maximum = 67_108_864))]
    pub disk_size: Option<Mib>,
    /// The size of the system disk (`/`), in MiB.
    #[serde(rename = "system_disk_size_mib")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u64>, minimum = 64, maximum = 67_108_864))]
    pub system_disk_size: Option<Mib>,
    /// Whether the VM reaches the outside through the host.
    pub nat: Option<bool>,
    /// Whether delete and kill are rejected.
    pub protected: Option<bool>,
    /// Whether the VM starts when the host boots, with the first daemon.
    pub autostart: Option<bool>,
    /// The labels.
    #[serde(
        skip_serializing_if = "LabelsPatch::is_empty",
        deserialize_with = "crate::object::only"
    )]
    pub labels: LabelsPatch,
    /// The volumes.
    #[serde(
        skip_serializing_if = "VolumesPatch::is_empty",
        deserialize_with = "crate::object::only"
    )]
    pub volumes: VolumesPatch,
}

/// A change to the volumes: what is in neither list stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct VolumesPatch {
    /// Volumes that are new or are mounted elsewhere, each with its directory.
    #[cfg_attr(feature = "schema", schema(schema_with = volumes_schema))]
    pub add: BTreeMap<VolumeName, String>,
    /// Names of volumes that go first; one that is not there is no error.
    pub remove: Vec<String>,
}

impl VolumesPatch {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn apply(&self, volumes: &BTreeMap<VolumeName, String>) -> BTreeMap<VolumeName, String> {
        let mut volumes = volumes.clone();
        volumes.retain(|name, _| !self.remove.iter().any(|it| it == name.as_str()));
        volumes.extend(self.add.clone());
        volumes
    }
}

/// Changes to the labels. Labels in neither list stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LabelsPatch {
    /// Labels to add, or to give another value.
    #[cfg_attr(feature = "schema", schema(schema_with = labels_schema))]
    pub add: BTreeMap<String, String>,
    /// Keys of labels to remove, before `add` applies. A key without a label is not an error.
    pub remove: Vec<String>,
}

impl LabelsPatch {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn apply(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = labels.clone();
        labels.retain(|key, _| !self.remove.contains(key));
        labels.extend(self.add.clone());
        labels
    }
}

/// The settings of a VM that neither its create nor the configuration sets.
impl Default for VmSpec {
    fn default() -> Self {
        Self {
            vcpu: 2,
            memory: Mib(2048),
            disk_size: Mib(16 << 10),
            system_disk_size: Mib(16 << 10),
            nat: false,
            protected: false,
            autostart: false,
            labels: BTreeMap::new(),
            volumes: BTreeMap::new(),
        }
    }
}

impl VmSpecPatch {
    /// The settings of the VM for an image build: its packages come from the network, and it is
    /// deleted at the end, whatever the configuration sets for new VMs.
    #[must_use]
    pub fn of_a_build() -> Self {
        Self {
            nat: Some(true),
            protected: Some(false),
            autostart: Some(false),
            ..Self::default()
        }
    }
}

impl VmSpec {
    /// The spec after a change.
    #[must_use]
    pub fn apply(&self, patch: &VmSpecPatch) -> Self {
        Self {
            vcpu: patch.vcpu.unwrap_or(self.vcpu),
            memory: patch.memory.unwrap_or(self.memory),
            disk_size: patch.disk_size.unwrap_or(self.disk_size),
            system_disk_size: patch.system_disk_size.unwrap_or(self.system_disk_size),
            nat: patch.nat.unwrap_or(self.nat),
            protected: patch.protected.unwrap_or(self.protected),
            autostart: patch.autostart.unwrap_or(self.autostart),
            labels: patch.labels.apply(&self.labels),
            volumes: patch.volumes.apply(&self.volumes),
        }
    }

    /// The volumes, each as `name:/path`.
    pub fn volume_texts(&self) -> Vec<String> {
        let volumes = self.volumes.iter();
        volumes
            .map(|(name, mount)| format!("{name}:{mount}"))
            .collect()
    }

    /// The labels, each as `key=value`.
    pub fn label_texts(&self) -> Vec<String> {
        let labels = self.labels.iter();
        labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }

    /// Rejects settings that no host can provide. The memory may stay as in `before`: the minimum
    /// has been raised since, and older VMs keep theirs.
    ///
    /// # Errors
    /// For the first setting that is out of range, with the range.
    pub fn check(&self, before: Option<&Self>) -> Result<(), String> {
        limits::vcpu(self.vcpu)?;
        if before.is_none_or(|before| before.memory != self.memory) {
            limits::memory(self.memory)?;
        }
        limits::disk(self.disk_size)?;
        limits::disk(self.system_disk_size)?;
        limits::labels(&self.labels)?;
        limits::volumes(&self.volumes)
    }
}

/// The keys and values that [`limits::label`] accepts.
#[cfg(feature = "schema")]
fn labels_schema() -> utoipa::openapi::Object {
    use utoipa::openapi::{ObjectBuilder, Type};
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let key = text().pattern(Some("^[a-z0-9._/-]{1,63}$"));
    let value = text()
        .pattern(Some(r"^[^\u0000-\u001f\u007f-\u009f]*$"))
        .max_length(Some(limits::LONGEST_LABEL_VALUE));
    ObjectBuilder::new()
        .property_names(Some(key))
        .additional_properties(Some(value))
        .max_properties(Some(limits::MOST_LABELS))
        .build()
}

/// The names that [`VolumeName`] accepts, and the directories that [`limits::mount`] accepts.
#[cfg(feature = "schema")]
fn volumes_schema() -> utoipa::openapi::Object {
    use utoipa::openapi::{ObjectBuilder, Type};
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let name = text()
        .pattern(Some("^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$"))
        .max_length(Some(32));
    let mount = text()
        .pattern(Some(
            r"^(?!/(?:root$|(?:proc|sys|dev|run|tmp|boot)(?:/|$)))(?:/(?!\.{1,2}(?:/|$))[^/\u0000-\u001f\u007f-\u009f]+)+$",
        ))
        .max_length(Some(255));
    ObjectBuilder::new()
        .property_names(Some(name))
        .additional_properties(Some(mount))
        .max_properties(Some(limits::MOST_VOLUMES))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> VmSpec {
        VmSpec {
            labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
            ..VmSpec::default()
        }
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        assert_eq!(spec().apply(&VmSpecPatch::default()), spec());
        let patch = VmSpecPatch {
            memory: Some(Mib(4096)),
            nat: Some(true),
            ..VmSpecPatch::default()
        };
        let expected = VmSpec {
            memory: Mib(4096),
            nat: true,
            ..spec()
        };
        assert_eq!(spec().apply(&patch), expected);
    }

    #[test]
    fn labels_are_removed_and_then_added() {
        let patch: VmSpecPatch = serde_json::from_str(
            r#"{"labels": {"add": {"ci/run": "7", "team": "api"}, "remove": ["team", "none"]}}"#,
        )
        .unwrap();
        let labels = spec().apply(&patch).labels;
        let expected =
            [("ci/run", "7"), ("team", "api")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(labels, BTreeMap::from(expected));
        let unchanged = VmSpecPatch::default();
        assert_eq!(spec().apply(&unchanged).labels, spec().labels);
        assert_eq!(serde_json::to_value(unchanged).unwrap().get("labels"), None);
    }

    #[test]
    fn a_list_is_no_object() {
        let read = |json: &str| serde_json::from_str::<crate::CreateVm>(json);
        for json in [r#"{"spec": [null]}"#, r#"{"spec": {"labels": [{}]}}"#] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains("expected an object"), "{error}");
        }
        let labels = read(r#"{"spec": {"labels": {"remove": ["team"]}}}"#).unwrap();
        assert_eq!(labels.spec.labels.remove, ["team"]);
    }

    #[test]
    fn a_record_without_labels_is_read() {
        let mut json = serde_json::to_value(spec()).unwrap();
        json.as_object_mut().unwrap().remove("labels");
        let read: VmSpec = serde_json::from_value(json).unwrap();
        assert_eq!(read.labels, BTreeMap::new());
    }

    #[test]
    fn memory_below_the_least_is_kept_and_not_given() {
        let small = VmSpec {
            memory: Mib(128),
            ..spec()
        };
        assert!(small.check(None).unwrap_err().contains("at least 192M"));
        assert!(small.check(Some(&spec())).is_err());
        assert_eq!(small.check(Some(&small)), Ok(()));
    }
}
