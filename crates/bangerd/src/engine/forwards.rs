//! Forwards that the daemon holds: ports and sockets of the host that reach services of a guest,
//! and those of a guest that reach services of the host.
//!
//! The record has them: those of a VM are for all of its runs, those of a run end with it. What
//! listens follows from the record, so a daemon that was killed listens again, and nothing is
//! half-made. A port of the host belongs to the VM whose record has it, whether it runs or not.
//!
//! ```text
//!   add, remove ──► record ──► publish ──┐
//!   start, stop, recovery ─────► publish ┼──► follow ──► listeners, each with a thread
//!   watch, for those that failed ────────┘
//! ```

mod held;
mod inward;
mod outward;
mod reserved;

use std::net::{Ipv4Addr, Ipv6Addr};

use banger_api::{
    AddForwards, Code, Endpoint, EndpointHost, Error, Forward, ForwardState, ForwardView,
    MOST_FORWARDS, Phase, RemoveForwards, VmRef,
};

use banger_guest::streams::ListeningSocket;

use super::hold::Slot;
use super::inside::not_running;
use super::{Engine, ProgressSink, lock};
use crate::error::{During, Result};
use crate::vm::Vm;
use crate::vm::phase::{Verb, may};
use held::Held;
pub(super) use held::HeldForwards;

/// The name of the hold.
const VERB: &str = "forward";

impl Engine {
    /// The forwards that are held for a VM.
    ///
    /// # Errors
    /// `not-found`.
    pub fn forwards(&self, wanted: &VmRef) -> Result<Vec<ForwardView>> {
        Ok(self.forward_views(&self.find(wanted)?.vm()))
    }

    /// Adds forwards to a VM, all or none of them. Those that it has already stay, and are kept if
    /// that is asked for now.
    ///
    /// # Errors
    /// `conflict` if one cannot be listened on, such as on a port that is taken, or if the VM does not
    /// run.
    pub fn add_forwards(
        &self,
        wanted: &VmRef,
        request: &AddForwards,
        _progress: ProgressSink<'_>,
    ) -> Result<Vec<ForwardView>> {
        let slot = self.find(wanted)?;
        let doing = || format!("forward to `{}`", slot.vm().name);
        let hold = slot.hold(VERB).during(doing())?;
        let mut vm = hold.vm();
        may_change(&vm).during(doing())?;
        if vm.phase != Phase::Running && !request.keep && !request.forwards.is_empty() {
            return Err(not_running(&vm)
                .hint(format!(
                    "or keep the forward for its runs: banger vm forward {} … --keep",
                    vm.name
                ))
                .within(doing()));
        }
        // Two verbs that take the same port see each other's record.
        let adding = lock(&self.forwards.adding);
        let mut opened = Vec::new();
        let mut added = Vec::new();
        for forward in &request.forwards {
            let forward = judged(forward).during(doing())?;
            if vm.all_forwards().any(|it| *it == forward) {
                keep(&mut vm, &forward, request.keep);
                added.push(forward);
                continue;
            }
            refuse_more(&vm).during(doing())?;
            self.refuse_taken(&vm, &forward).during(doing())?;
            let (forward, held) = self.open_new(&vm, forward).during(doing())?;
            opened.extend(held);
            record(&mut vm, forward.clone(), request.keep);
            added.push(forward);
        }
        self.forwards.take(vm.id, opened);
        let saved = self.save(&slot, &vm).during(doing());
        drop(adding);
        // Those that the record does not have are closed.
        self.follow_forwards(&slot);
        saved?;
        for forward in &added {
            tracing::info!(vm = %vm.name, %forward, kept = request.keep, "forwarded");
        }
        let mut views = self.forward_views(&slot.vm());
        views.retain(|view| added.contains(&view.forward()));
        Ok(views)
    }

    /// Removes forwards. Their open connections stay until they end.
    ///
    /// # Errors
    /// `not-found` if the VM has not got one of them; nothing is removed then.
    pub fn remove_forwards(
        &self,
        wanted: &VmRef,
        request: &RemoveForwards,
        _progress: ProgressSink<'_>,
    ) -> Result<Vec<ForwardView>> {
        let slot = self.find(wanted)?;
        let doing = || format!("remove forwards of `{}`", slot.vm().name);
        let hold = slot.hold(VERB).during(doing())?;
        let mut vm = hold.vm();
        may_change(&vm).during(doing())?;
        let mut wanted = Vec::new();
        for forward in &request.forwards {
            let forward = normal(forward);
            if !vm.all_forwards().any(|it| *it == forward) {
                let text = format!("`{}` has no forward {forward}", vm.name);
                return Err(Error::new(Code::NotFound, text)
                    .hint(format!(
                        "see those that it has: banger vm forward {} --list",
                        vm.name
                    ))
                    .within(doing()));
            }
            wanted.push(forward);
        }
        let mut removed = self.forward_views(&vm);
        removed.retain(|view| request.all || wanted.contains(&view.forward()));
        let stays = |it: &Forward| !request.all && !wanted.contains(it);
        vm.forwards.retain(stays);
        vm.note_run(|run| run.forwards.retain(stays));
        self.save(&slot, &vm).during(doing())?;
        Ok(removed)
    }

    /// Where the host listens for a port of the guest.
    pub(super) fn forwarded_from(&self, vm: &Vm, port: &ListeningSocket) -> Vec<Endpoint> {
        let any = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let is_reached = |host: &EndpointHost| match host {
            EndpointHost::Localhost => port.address.is_loopback() || any.contains(&port.address),
            EndpointHost::Address(address) => {
                *address == port.address || any.contains(&port.address)
            }
        };
        let leads_there = |view: &ForwardView| match &view.target {
            Endpoint::Tcp(host, number) => {
                !view.reverse && *number == port.port && is_reached(host)
            }
            Endpoint::Unix(_) => false,
        };
        let views = self.forward_views(vm).into_iter();
        let listening = views.filter(|it| it.state == ForwardState::Listening);
        let found = listening.filter(|it| port.protocol == "tcp" && leads_there(it));
        found.map(|it| it.listen).collect()
    }

    /// Listens for a new forward. That of a VM that does not run is only tried, where it can be.
    fn open_new(&self, vm: &Vm, forward: Forward) -> Result<(Forward, Option<Held>)> {
        let runs = vm.phase == Phase::Running;
        if forward.reverse && !runs {
            if matches!(forward.listen, Endpoint::Tcp(_, 0)) {
                let text = "a free port of the guest is chosen while the VM runs";
                return Err(Error::new(Code::Conflict, text)
                    .hint(format!("banger vm start {}", vm.name))
                    .hint("or name a port"));
            }
            return Ok((forward, None));
        }
        let Some(listening) = self.open_unreserved(vm, &forward)? else {
            return Ok((forward, None));
        };
        let forward = listening.forward.clone();
        Ok((forward, runs.then_some(listening)))
    }

    /// Listens. A port that the system chose is passed over if the record of a stopped VM has it.
    fn open_unreserved(&self, vm: &Vm, forward: &Forward) -> Result<Option<Held>> {
        // They stay open meanwhile, so that each choice is another one.
        let mut reserved = Vec::new();
        loop {
            let Some(listening) = self.forwards.open(vm, forward, true)? else {
                return Ok(None);
            };
            let is_reserved = self.refuse_taken(vm, &listening.forward).is_err();
            if !is_reserved || listening.forward == *forward || reserved.len() == MOST_FORWARDS {
                return Ok(Some(listening));
            }
            reserved.push(listening);
        }
    }
}

/// Rejects a VM that another verb has deleted meanwhile, or is changing: saving it would bring it back.
fn may_change(vm: &Vm) -> Result<()> {
    may(Verb::Set, vm.phase, &vm.name)?;
    if vm.is_in_trash() {
        return Err(Error::new(Code::NotFound, "it is in the trash")
            .hint(format!("take it back: banger vm undelete {}", vm.name)));
    }
    Ok(())
}

fn refuse_more(vm: &Vm) -> Result<()> {
    if vm.all_forwards().count() < MOST_FORWARDS {
        return Ok(());
    }
    let text = format!("a VM has at most {MOST_FORWARDS} forwards");
    let hint = format!("remove some: banger vm forward {} --remove PORT", vm.name);
    Err(Error::new(Code::Invalid, text).hint(hint))
}

fn record(vm: &mut Vm, forward: Forward, is_kept: bool) {
    match &mut vm.run {
        Some(run) if !is_kept => run.forwards.push(forward),
        _ => vm.forwards.push(forward),
    }
}

/// Keeps a forward of the run for later ones, if that is wanted.
fn keep(vm: &mut Vm, forward: &Forward, is_kept: bool) {
    if is_kept && !vm.forwards.contains(forward) {
        vm.note_run(|run| run.forwards.retain(|it| it != forward));
        vm.forwards.push(forward.clone());
    }
}

/// The forward as it is recorded, if there can be such a one.
fn judged(forward: &Forward) -> Result<Forward> {
    if matches!(forward.target, Endpoint::Tcp(_, 0)) {
        let text = "port 0 cannot be connected to";
        return Err(Error::new(Code::Invalid, text));
    }
    Ok(normal(forward))
}

/// One loopback address listens, and not two, whatever it is called.
fn normal(forward: &Forward) -> Forward {
    let mut forward = forward.clone();
    if let Endpoint::Tcp(host @ EndpointHost::Localhost, _) = &mut forward.listen {
        *host = EndpointHost::Address(Ipv4Addr::LOCALHOST.into());
    }
    forward
}

/// Whether the slot's VM is one whose forwards listen.
fn listens(slot: &Slot) -> bool {
    let vm = slot.vm();
    vm.phase == Phase::Running && !vm.is_in_trash()
}
