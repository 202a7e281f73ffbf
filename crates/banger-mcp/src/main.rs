//! `banger-mcp`: banger's VMs for an agent, over the Model Context Protocol
//! (<https://modelcontextprotocol.io/specification/2026-07-28>) on standard input and output.
//!
//! ```text
//! agent ── stdin, stdout ── banger-mcp ── the daemon's socket ── bangerd
//!                           policy
//! ```
//!
//! The policy comes from the command line, which the user writes, not the agent: which VMs the
//! agent sees, and whether it may change or destroy them ([`policy`]). A tool that the policy
//! forbids is not listed.

mod arguments;
mod capture;
mod daemon;
mod options;
mod policy;
mod reply;
mod server;
mod tools;

use std::process::ExitCode;

use banger_api::{Code, Error};
use clap::Parser as _;
use rmcp::ServiceExt as _;

use daemon::Daemon;
use options::Options;
use server::Server;

fn main() -> ExitCode {
    let options = Options::parse();
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard output belongs to the protocol.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("{}\n", error.report()).as_bytes(),
            );
            ExitCode::FAILURE
        }
    }
}

/// Serves one client until it closes standard input.
fn serve(options: &Options) -> banger_api::Result<()> {
    let server = Server::new(Daemon::find(options)?, options.policy());
    let failed = |cause: String| Error::new(Code::Internal, "serve the client").cause(cause);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|cause| failed(cause.to_string()))?;
    let outcome = runtime.block_on(async {
        let service = server
            .serve(rmcp::transport::stdio())
            .await
            .map_err(|cause| failed(cause.to_string()))?;
        service
            .waiting()
            .await
            .map_err(|cause| failed(cause.to_string()))
    });
    // Requests that still wait for the daemon are abandoned.
    runtime.shutdown_background();
    outcome.map(drop)
}
