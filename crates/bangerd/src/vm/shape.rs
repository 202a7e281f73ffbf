//! The shape of a VM's machine: the virtual hardware that its guest sees, fixed at create.
//!
//! A suspended guest resumes only in a machine of the same shape. So a shape never changes: other
//! devices or addresses get a new number, and existing VMs keep theirs. Both drivers' tests compare
//! the machine of each shape with a committed snapshot.
//!
//! | number | machine |
//! |---|---|
//! | 0 | VMs from before shapes: QEMU's `q35` of the day, with devices where QEMU puts them; on Firecracker, a disk that is a device has that device's path |
//! | 1 | a versioned machine type, with devices at fixed addresses, vmgenid, a balloon that reports free pages, and a port each for control, streams and shares; on Firecracker the balloon, and disks by names that are the same for all VMs |

use serde::{Deserialize, Serialize};

/// The newest number.
pub const NEWEST: u32 = 1;

/// QEMU's machine type of new VMs: the newest one of the oldest supported QEMU. QEMU keeps a
/// versioned type for six years.
const MACHINE_TYPE: &str = "pc-q35-7.2";

/// The shape in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The number of its set of devices and addresses, 0 to [`NEWEST`].
    pub number: u32,
    /// QEMU's machine type.
    pub machine_type: String,
}

impl Shape {
    /// The shape of new VMs.
    #[must_use]
    pub fn newest() -> Self {
        Self {
            number: NEWEST,
            machine_type: MACHINE_TYPE.to_owned(),
        }
    }

    /// Whether the VM was created before shapes existed.
    #[must_use]
    pub fn is_original(&self) -> bool {
        self.number == 0
    }
}

/// The shape of a VM whose record has none.
impl Default for Shape {
    fn default() -> Self {
        Self {
            number: 0,
            machine_type: "q35".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::tests::made;
    use crate::layout::Layout;
    use crate::vm::Vm;
    use crate::vm::store::Store;
    use banger_host::{FileOp, Host as _, Look as _, Op, Sim};
    use serde_json::{Value, json};

    /// The record of a new VM after a change of its JSON.
    fn changed(with: impl FnOnce(&mut Value)) -> (Sim, Vm, Store) {
        let (sim, vm, _) = made();
        let layout = Layout::new("/state");
        let path = layout.vm(vm.id).record();
        let record = sim.read(&path).unwrap().unwrap();
        let mut record: Value = serde_json::from_slice(&record).unwrap();
        with(&mut record);
        let op = Op::File(FileOp::WriteFile {
            path,
            contents: serde_json::to_vec(&record).unwrap(),
            mode: 0o600,
            owner: None,
        });
        sim.change(&op).unwrap();
        (sim, vm, Store::new(layout))
    }

    #[test]
    fn a_new_vm_has_the_newest_shape_with_a_versioned_machine_type() {
        let (_, vm, _) = changed(|record| {
            let shape = json!({"number": 1, "machine_type": "pc-q35-7.2"});
            assert_eq!(record["vm"]["shape"], shape);
        });
        assert_eq!(vm.shape, Shape::newest());
    }

    #[test]
    fn a_record_without_a_shape_keeps_the_original_one() {
        let (sim, vm, store) = changed(|record| {
            record["vm"].as_object_mut().unwrap().remove("shape");
        });
        let old = store.load(&sim).unwrap().vms.remove(0);
        assert_eq!(old.shape, Shape::default());
        assert!(old.shape.is_original());
        store.save(&sim, &old).unwrap();
        let record = sim.read(&Layout::new("/state").vm(vm.id).record());
        let record = String::from_utf8(record.unwrap().unwrap()).unwrap();
        assert!(!record.contains("shape"), "{record}");
    }

    #[test]
    fn a_shape_of_a_newer_banger_is_refused() {
        let (sim, _, store) = changed(|record| record["vm"]["shape"]["number"] = json!(NEWEST + 1));
        let found = store.load(&sim).unwrap();
        assert!(found.vms.is_empty());
        assert!(found.unexplained[0].contains("shape 2"), "{found:?}");
    }
}
