//! Checks the host side of all running VMs, with as few queries of the host as possible.

use banger_api::Error;

use crate::error::Result;
use crate::vm::Vm;

/// For each VM, in order, whether its host side is intact; an error means unknown.
pub type Holds = Vec<Result<bool>>;

/// Checks the VMs that this applies to; the others are intact.
pub(crate) fn among(
    running: &[&Vm],
    concerns: impl Fn(&Vm) -> bool,
    look: impl FnOnce(&[&Vm]) -> Holds,
) -> Holds {
    let concerned: Vec<&Vm> = running.iter().copied().filter(|vm| concerns(vm)).collect();
    if concerned.is_empty() {
        return running.iter().map(|_| Ok(true)).collect();
    }
    let mut answers = look(&concerned).into_iter();
    let mut answer_of = |vm| match concerns(vm) {
        true => answers.next().unwrap_or(Ok(true)),
        false => Ok(true),
    };
    running.iter().map(|vm| answer_of(vm)).collect()
}

/// Queries all VMs at once, and each VM if the answer is no. After a failed query the remaining VMs
/// are unknown.
pub(crate) fn together(running: &[&Vm], look: impl Fn(&[&Vm]) -> Result<bool>) -> Holds {
    let all = look(running);
    if all != Ok(false) || running.len() == 1 {
        return vec![all; running.len()];
    }
    let mut failed: Option<Error> = None;
    let each = running.iter().map(|vm| {
        if let Some(error) = &failed {
            return Err(error.clone());
        }
        let answer = look(&[vm]);
        failed = answer.clone().err();
        answer
    });
    each.collect()
}

/// Combines two checks: intact means intact in both.
pub(crate) fn both(first: Holds, second: Holds) -> Holds {
    let pairs = first.into_iter().zip(second);
    let answers = pairs.map(|(first, second)| if first? { second } else { Ok(false) });
    answers.collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use banger_api::{Code, VmId};

    use super::*;
    use crate::assemble::tests::made;

    fn three() -> [Vm; 3] {
        [1, 2, 3].map(|bits| Vm {
            id: VmId::from_bits(bits),
            ..made().1
        })
    }

    #[test]
    fn each_is_asked_for_only_where_not_all_is_well() {
        let vms = three();
        let running: Vec<&Vm> = vms.iter().collect();
        let looks = Cell::new(0);
        let without = |bits| {
            let looks = &looks;
            let harmed = VmId::from_bits(bits);
            move |vms: &[&Vm]| {
                looks.set(looks.get() + 1);
                Ok(vms.iter().all(|vm| vm.id != harmed))
            }
        };
        assert_eq!(together(&running, without(9)), vec![Ok(true); 3]);
        assert_eq!(looks.replace(0), 1);
        let answers = together(&running, without(2));
        assert_eq!(answers, [Ok(true), Ok(false), Ok(true)]);
        assert_eq!(looks.get(), 4);
    }

    #[test]
    fn what_fails_for_all_is_unknown_for_all_and_asked_once() {
        let vms = three();
        let running: Vec<&Vm> = vms.iter().collect();
        let silent = || Error::new(Code::Host, "no answer");
        let looks = Cell::new(0);
        let answers = together(&running, |_| {
            looks.set(looks.get() + 1);
            Err(silent())
        });
        assert_eq!((answers, looks.replace(0)), (vec![Err(silent()); 3], 1));
        let answers = together(&running, |_| {
            looks.set(looks.get() + 1);
            if looks.get() < 3 {
                Ok(looks.get() == 2)
            } else {
                Err(silent())
            }
        });
        assert_eq!(answers, [Ok(true), Err(silent()), Err(silent())]);
        assert_eq!(looks.get(), 3);
    }

    #[test]
    fn answers_stay_in_the_order_of_their_vms() {
        let vms = three();
        let running: Vec<&Vm> = vms.iter().collect();
        let second = |vm: &Vm| vm.id == VmId::from_bits(2);
        let answers = among(&running, second, |some| vec![Ok(false); some.len()]);
        assert_eq!(answers, [Ok(true), Ok(false), Ok(true)]);
        let others = vec![Ok(true), Ok(true), Ok(false)];
        assert_eq!(both(answers, others), [Ok(true), Ok(false), Ok(false)]);
    }
}
