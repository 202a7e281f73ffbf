//! The server: a policy, a daemon, and the tools that the policy allows.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use banger_api::client::Client;
use banger_api::{Code, Error, Progress, VmRef, VmView};
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::model::{
    CallToolResult, Implementation, ProgressNotificationParam, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler, tool_handler};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::daemon::Daemon;
use crate::policy::{Permission, Policy};
use crate::reply;

/// The description of the server that an agent reads.
const INSTRUCTIONS: &str = "\
banger's VMs are Debian machines that keep their disks until they are deleted. Commands run as root in them, and cannot \
harm the host. `create_vm` returns when the VM is ready. Use `exec` for everything that a shell does; begin what lasts \
longer than its timeout with `systemd-run` or `nohup`, and look at it later.";

/// The context in which a tool runs.
pub(crate) struct Work<'a> {
    /// The daemon.
    pub(crate) client: &'a Client,
    /// The policy for the agent.
    pub(crate) policy: &'a Policy,
    /// Sends the steps and the sockets of this request.
    events: UnboundedSender<WorkEvent>,
}

/// An event during a request.
enum WorkEvent {
    Step(Progress),
    /// A connection that a cancellation closes.
    Socket(UnixStream),
}

impl Work<'_> {
    /// The VM of this name or id, if the agent sees it.
    ///
    /// # Errors
    /// `not-found`, also for a VM that the policy does not admit.
    pub(crate) fn find(&self, vm: &str) -> banger_api::Result<VmView> {
        let vm: VmRef = vm
            .parse()
            .map_err(|cause| Error::new(Code::Invalid, format!("`{vm}` is no VM: {cause}")))?;
        match self.client.show(&vm) {
            Ok(view) if !self.policy.admits(&view) => {
                Err(Error::new(Code::NotFound, format!("there is no VM `{vm}`")))
            }
            answer => answer,
        }
        .map_err(|error| match error.code {
            Code::NotFound => Error::new(Code::NotFound, format!("there is no VM `{vm}`"))
                .hint("see them with list_vms"),
            _ => error,
        })
    }

    /// The VM's id, which stays the same if the VM is renamed meanwhile.
    ///
    /// # Errors
    /// Those of [`Work::find`].
    pub(crate) fn vm(&self, vm: &str) -> banger_api::Result<VmRef> {
        Ok(self.find(vm)?.id.into())
    }

    /// Reports a step to the agent.
    pub(crate) fn report(&self) -> impl FnMut(Progress) + use<> {
        let events = self.events.clone();
        move |step| drop(events.send(WorkEvent::Step(step)))
    }

    /// Makes a cancellation of the request close this connection.
    pub(crate) fn close_on_cancellation(&self, socket: &UnixStream) {
        if let Ok(socket) = socket.try_clone() {
            let _ = self.events.send(WorkEvent::Socket(socket));
        }
    }
}

/// The server of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    daemon: Daemon,
    policy: Arc<Policy>,
    router: ToolRouter<Self>,
}

impl Server {
    /// A server with the tools that the policy allows.
    pub(crate) fn new(daemon: Daemon, policy: Policy) -> Self {
        let mut router = Self::looking_router();
        if policy.permission >= Permission::Change {
            router.merge(Self::changing_router());
        }
        if policy.permission >= Permission::Destroy {
            router.merge(Self::destroying_router());
        }
        Self {
            daemon,
            policy: Arc::new(policy),
            router,
        }
    }

    /// Runs the work of one request on a thread that may block, and passes on its steps.
    ///
    /// # Errors
    /// Those of the work, in the form for an agent.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        context: &RequestContext<RoleServer>,
        work: impl FnOnce(&Work<'_>) -> banger_api::Result<T> + Send + 'static,
    ) -> Result<T, CallToolResult> {
        let (events, mut received) = unbounded_channel();
        let (daemon, policy) = (self.daemon.clone(), Arc::clone(&self.policy));
        let mut thread = tokio::task::spawn_blocking(move || {
            let client = daemon.connect()?;
            let (client, policy) = (&client, policy.as_ref());
            work(&Work {
                client,
                policy,
                events,
            })
        });
        let mut socket: Option<UnixStream> = None;
        let mut steps = Steps {
            context,
            count: 0.0,
        };
        let outcome = loop {
            tokio::select! {
                // Steps before the end are passed on before it.
                biased;
                Some(event) = received.recv() => match event {
                    WorkEvent::Step(step) => steps.pass_on(&step).await,
                    WorkEvent::Socket(new) => socket = Some(new),
                },
                outcome = &mut thread => break outcome,
                () = context.ct.cancelled(), if socket.is_some() => {
                    if let Some(socket) = socket.take() {
                        let _ = socket.shutdown(Shutdown::Both);
                    }
                }
            }
        };
        while let Ok(WorkEvent::Step(step)) = received.try_recv() {
            steps.pass_on(&step).await;
        }
        outcome
            .unwrap_or_else(|cause| Err(Error::new(Code::Internal, cause.to_string())))
            .map_err(|error| reply::error(&error))
    }
}

/// Sends the steps of a request to an agent that asked for progress: each one restarts its timeout.
struct Steps<'a> {
    context: &'a RequestContext<RoleServer>,
    count: f64,
}

impl Steps<'_> {
    async fn pass_on(&mut self, step: &Progress) {
        if let Some(token) = self.context.meta.get_progress_token() {
            self.count += 1.0;
            let progress = ProgressNotificationParam::new(token, self.count);
            let progress = progress.with_message(&step.step);
            let _ = self.context.peer.notify_progress(progress).await;
        }
    }
}

#[tool_handler(router = self.router)]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let this =
            Implementation::new("banger-mcp", env!("CARGO_PKG_VERSION")).with_title("banger");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(this)
            .with_instructions(INSTRUCTIONS)
    }
}
