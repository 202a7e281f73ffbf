//! `vm create`: a name, a record, what persists of each capability, and a start unless the request
//! omits it.

use std::sync::Arc;

use banger_api::{Code, CreateVm, Error, ImageName, Phase, StartVm, VmId, VmName, VmSpec, VmView};
use banger_host::{FileOp, Host, Op};
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use super::hold::{Hold, Slot};
use super::operations::OpenOperation;
use super::{Engine, ProgressSink, admit, copying_step, disk_pressure, lock};
use crate::capability::Capability;
use crate::error::{During, Result, from_host};
use crate::readiness;
use crate::vm::claim::Claim;
use crate::vm::{HostKey, Images, Secret, Vm};

impl Engine {
    pub(super) fn create_vm(
        &self,
        request: &CreateVm,
        operation: &OpenOperation<'_>,
        progress: ProgressSink<'_>,
    ) -> Result<VmView> {
        let wanted = request.name.clone();
        let doing = move || match &wanted {
            Some(name) => format!("create `{}`", name.escape_debug()),
            None => "create a VM".to_owned(),
        };
        let hold = self
            .make(request, None, operation, progress)
            .during(doing())?;
        if request.no_start {
            return Ok(self.advised(&hold.vm(), request));
        }
        self.start_held(&hold, &StartVm::default(), progress).map_err(|mut error| {
            let name = hold.vm().name;
            if request.temporary {
                // Its console goes with it.
                error.hints.retain(|hint| !hint.contains("banger vm logs"));
                let left = self.remove(&hold);
                error.also.extend(left.err().map(|left| left.to_string()));
                self.prune();
                return error.hint(
                    "to study it, create it by itself; it stays then: banger vm create",
                );
            }
            error.hint(format!(
                "the VM exists, stopped. Try again: banger vm start {name}   (or: banger vm delete {name})"
            ))
        })?;
        Ok(self.advised(&hold.vm(), request))
    }

    /// The view, with the advice for a new user, and without notes that suggest what the request
    /// already chose.
    fn advised(&self, vm: &Vm, request: &CreateVm) -> VmView {
        let mut view = self.view(vm);
        let of_configuration = self.defaults().chosen;
        for chosen in [&request.spec, &of_configuration] {
            let capabilities = self.parts.capabilities.iter();
            let settled: Vec<String> = capabilities.flat_map(|it| it.settled(vm, chosen)).collect();
            view.notes.retain(|note| !settled.contains(note));
        }
        if !self.parts.advice.is_empty() && self.advises_first() {
            view.notes.extend(self.parts.advice.iter().cloned());
        }
        view
    }

    /// Whether this is the first time to give the advice; records that. If the record fails, the
    /// advice is repeated.
    fn advises_first(&self) -> bool {
        let path = self.parts.layout.advice_given();
        if !matches!(self.host().stat(&path), Ok(None)) {
            return false;
        }
        let op = Op::File(FileOp::WriteFile {
            path,
            contents: Vec::new(),
            mode: 0o600,
            owner: None,
        });
        if let Err(error) = self.host().change(&op) {
            tracing::warn!(%error, "recording the advice failed");
        }
        true
    }

    /// Makes a VM with everything that persists of it, stopped; `builds` is the image that is built
    /// in it.
    pub(super) fn make(
        &self,
        request: &CreateVm,
        builds: Option<&ImageName>,
        operation: &OpenOperation<'_>,
        progress: ProgressSink<'_>,
    ) -> Result<Hold> {
        let defaults = self.defaults();
        let spec = self.admit(defaults.spec.apply(&request.spec), None)?;
        // The name is checked before the image, whose import may take a while.
        if let Some(name) = &request.name {
            admit::given_name(name, &self.claims(&lock(&self.vms)))?;
        }
        let image = request.image.as_deref().unwrap_or(&defaults.image);
        let lease = copying_step(progress, "image", self.host(), &|| false, |host| {
            self.parts.catalog.current(image, host)
        })?;
        let hold = loop {
            let claims = self.claims(&lock(&self.vms));
            let name = match &request.name {
                Some(name) => admit::given_name(name, &claims)?,
                None => admit::made_up_name(&defaults.names, &claims)?,
            };
            let mut vm = self.fresh(name, spec.clone(), lease.images().clone(), &claims)?;
            vm.builds = builds.cloned();
            vm.temporary = request.temporary;
            self.choose(&mut vm)?;
            self.admit_vm(&vm)?;
            let room = disk_pressure::check(&self.parts.layout, self.breaks_when_full(&vm));
            readiness::require(self.host(), &[room]).map(drop)?;
            if !request.no_start {
                readiness::require(self.host(), &self.start_checks(None)).map(drop)?;
            }
            let _claims = self.claim_volumes(&vm, None)?;
            if let Some(hold) = self.reserve(vm, request.name.is_none(), "create")? {
                break hold;
            }
        };
        // From here on the record protects them.
        drop(lease);
        operation.is_about(&hold.vm());
        self.furnish(&hold, progress, &|| false, |capability, vm, host| {
            capability.create(vm, host)
        })?;
        Ok(hold)
    }

    /// A VM with an identity of its own, which is not reserved yet.
    pub(super) fn fresh(
        &self,
        name: VmName,
        spec: VmSpec,
        images: Images,
        claims: &[Claim],
    ) -> Result<Vm> {
        let mut vm = Vm::new(free_id(&name, claims)?, name, spec, images, self.now());
        vm.host_key = host_key()?;
        vm.machine_id = format!("{:032x}", u128::from_le_bytes(random()?));
        Ok(vm)
    }

    /// Reserves the VM's name, id and index under the lock, and writes its first record. `None` if
    /// another verb has taken a generated one meanwhile; `is_made_up` says whether the name is
    /// generated.
    pub(super) fn reserve(
        &self,
        mut vm: Vm,
        is_made_up: bool,
        verb: &'static str,
    ) -> Result<Option<Hold>> {
        let mut vms = lock(&self.vms);
        let claims = self.claims(&vms);
        match admit::taken(&vm.name, &claims) {
            Err(_) if is_made_up => return Ok(None),
            outcome => outcome?,
        }
        let id = vm.id;
        if !is_free(id, &vm.name, &claims) {
            return Ok(None);
        }
        self.allot(&mut vm, &claims)?;
        let slot = Arc::new(Slot::new(vm));
        let hold = slot.hold(verb)?;
        let vm = slot.vm();
        // The claims are visible now; no other verb waits for the disk.
        vms.insert(id, slot);
        drop(vms);
        if let Err(error) = self.store.save(self.host(), &vm) {
            let mut error = from_host(&error);
            let left = self.store.remove(self.host(), id);
            error.also.extend(left.err().map(|left| left.to_string()));
            lock(&self.vms).remove(&id);
            self.tell_deleted(id);
            return Err(error);
        }
        self.tell(id);
        Ok(Some(hold))
    }

    /// Lets `make` create what persists of each capability, and records the VM as stopped. If that
    /// fails, or a copy ends because it `is_unwanted`, nothing of the VM remains.
    pub(super) fn furnish(
        &self,
        hold: &Hold,
        progress: ProgressSink<'_>,
        is_unwanted: &(dyn Fn() -> bool + Sync),
        make: impl Fn(&dyn Capability, &Vm, &dyn Host) -> Result<()>,
    ) -> Result<()> {
        let mut vm = hold.vm();
        let mut capabilities = self.parts.capabilities.iter();
        let made = capabilities.try_for_each(|capability| {
            let name = format!("create {}", capability.name());
            copying_step(progress, &name, self.host(), is_unwanted, |host| {
                make(&**capability, &vm, host)
            })
        });
        let recorded = made.and_then(|()| {
            vm.phase = Phase::Stopped;
            self.save(hold.slot(), &vm)
        });
        recorded.map_err(|mut error| {
            let left = self.remove(hold);
            error.also.extend(left.err().map(|left| left.to_string()));
            error
        })
    }
}

/// An unused id that cannot be mistaken for a name.
fn free_id(name: &VmName, claims: &[Claim]) -> Result<VmId> {
    loop {
        let id = VmId::from_bits(u32::from_le_bytes(random()?));
        if is_free(id, name, claims) {
            return Ok(id);
        }
    }
}

fn is_free(id: VmId, name: &VmName, claims: &[Claim]) -> bool {
    let text = id.to_string();
    let mut names = claims.iter().flat_map(|claim| &claim.names).chain([name]);
    claims.iter().all(|claim| claim.id != id) && !names.any(|name| text.starts_with(name.as_str()))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|cause| Error::new(Code::Host, "draw random bytes").cause(cause.to_string()))?;
    Ok(bytes)
}

/// A new SSH host key.
fn host_key() -> Result<HostKey> {
    let map_io_error = |cause: ssh_key::Error| {
        Error::new(Code::Internal, "make an SSH host key").cause(cause.to_string())
    };
    let key = PrivateKey::random(&mut ssh_key::rand_core::OsRng, Algorithm::Ed25519)
        .map_err(map_io_error)?;
    Ok(HostKey {
        private: Secret(
            key.to_openssh(LineEnding::LF)
                .map_err(map_io_error)?
                .to_string(),
        ),
        public: key
            .public_key()
            .to_openssh()
            .map_err(map_io_error)?
            .trim()
            .to_owned(),
    })
}
