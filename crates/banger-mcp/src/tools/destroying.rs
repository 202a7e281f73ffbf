//! Tools that lose data: only with `--allow-destructive`.

use banger_api::{DeleteVm, KillVm};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::service::RequestContext;
use rmcp::{RoleServer, tool, tool_router};

use super::VmSummary;
use crate::arguments::OneVm;
use crate::reply::{self, Reply};
use crate::server::Server;

#[tool_router(router = destroying_router, vis = "pub(crate)")]
impl Server {
    /// Ends a VM by force, as pulling its plug does. Its disks stay; what it had not written is lost.
    #[tool(annotations(
        destructive_hint = true,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn kill_vm(
        &self,
        Parameters(OneVm { vm }): Parameters<OneVm>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        let outcome = self.work(&context, move |work| {
            let vm = work.vm(&vm)?;
            work.client.kill(&vm, &KillVm::default(), work.report())
        });
        reply::object(&VmSummary::of(&outcome.await?.vm))
    }

    /// Deletes a VM with its disks, running or not. A protected VM is not deleted.
    #[tool(annotations(
        destructive_hint = true,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn delete_vm(
        &self,
        Parameters(OneVm { vm }): Parameters<OneVm>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        let vm = self.work(&context, move |work| {
            let vm = work.vm(&vm)?;
            let request = DeleteVm {
                force: true,
                purge: false,
            };
            work.client.delete(&vm, &request, work.report())
        });
        let name = vm.await?.name;
        Ok(reply::text(format!("{name} is deleted")))
    }
}
