//! `--early`: waits until the guest runs commands, which is long before it is ready. The daemon
//! continues with the start, as after any client that disconnects.

use std::sync::mpsc::{self, TryRecvError};
use std::time::Duration;

use banger_api::client::Client;
use banger_api::{Change, Code, Error, Progress, Result, VmRef, VmView};

use crate::poll;

/// The pause between two checks of a VM whose machine does not run yet.
const PAUSE: Duration = Duration::from_millis(30);

/// The progress of a start.
pub(super) enum StartProgress<T> {
    /// The start has ended.
    Done(T),
    /// The guest runs commands; the start continues.
    Answers(Box<VmView>),
}

/// The events of a request's thread.
enum RequestEvent<T> {
    Step(Progress),
    Outcome(Result<T>),
}

/// Sends a request that starts a VM, and waits until the guest runs commands or the request has
/// ended. `vm` is the VM, if it is known; otherwise it is that of the request.
///
/// # Errors
/// The daemon's error.
pub(super) fn until_it_answers<T: Send + 'static>(
    daemon: &Client,
    vm: Option<&VmRef>,
    progress: &mut dyn FnMut(Progress),
    begin: impl FnOnce(&Client, &mut dyn FnMut(Progress)) -> Result<T> + Send + 'static,
) -> Result<StartProgress<T>> {
    let client = Client::new(daemon.socket())?;
    let request = client.request().to_owned();
    let (tell, events) = mpsc::channel();
    std::thread::spawn(move || {
        // The receiver is dropped once the guest answers.
        let outcome = begin(&client, &mut |step| {
            drop(tell.send(RequestEvent::Step(step)));
        });
        let _ = tell.send(RequestEvent::Outcome(outcome));
    });
    let mut vm = vm.cloned();
    loop {
        match events.try_recv() {
            Ok(RequestEvent::Step(step)) => {
                progress(step);
                continue;
            }
            Ok(RequestEvent::Outcome(outcome)) => return outcome.map(StartProgress::Done),
            Err(TryRecvError::Disconnected) => {
                return Err(Error::new(
                    Code::Internal,
                    "the request ended without an outcome",
                ));
            }
            Err(TryRecvError::Empty) => {}
        }
        if vm.is_none() {
            vm = vm_of(daemon, &request)?;
        }
        if let Some(vm) = &vm
            && takes_commands(daemon, vm)?
        {
            return Ok(StartProgress::Answers(Box::new(daemon.show(vm)?)));
        }
        poll::pause(PAUSE);
    }
}

/// The VM of a request, once it has one.
fn vm_of(daemon: &Client, request: &str) -> Result<Option<VmRef>> {
    let first = daemon.events(None)?.next().transpose()?;
    let Some(Change::Snapshot(snapshot)) = first.map(|event| event.change) else {
        return Ok(None);
    };
    let mut operations = snapshot.operations.into_iter();
    let ours = operations.find(|it| it.request.as_deref() == Some(request));
    Ok(ours.and_then(|it| it.vm).map(VmRef::from))
}

/// Whether the guest runs commands: tested by a connection for one, which is closed unused.
fn takes_commands(daemon: &Client, vm: &VmRef) -> Result<bool> {
    match daemon.exec(vm) {
        Ok(_) => Ok(true),
        // The machine does not run yet, or its start is just failing, which the request reports.
        Err(error) if matches!(error.code, Code::Conflict | Code::Guest | Code::NotFound) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
