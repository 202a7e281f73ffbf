//! Tools that create, start, stop and use VMs.

use std::time::Duration;

use banger_api::client::{Command, CommandEnd, OutputStream};
use banger_api::{
    Code, CreateVm, Error, LabelsPatch, Mib, Result, StartVm, StopVm, VmRef, VmSpecPatch,
};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::CallToolResult;
use rmcp::service::RequestContext;
use rmcp::{RoleServer, tool, tool_router};

use super::VmSummary;
use crate::arguments::{FileToWrite, NewVm, OneCommand, OneVm};
use crate::capture::Capture;
use crate::reply::{self, Reply};
use crate::server::{Server, Work};

/// How long a command may run: the default, and the maximum.
const USUAL_SECONDS: u64 = 120;
const MOST_SECONDS: u64 = 3600;

/// The number of bytes of an output that are returned: the default, and the maximum.
const USUAL_OUTPUT: usize = 32 << 10;
const MOST_OUTPUT: usize = 1 << 20;

/// The largest content of `write_file`, in bytes.
const MOST_CONTENT: usize = 8 << 20;

/// How long writing a file may take.
const FILE_TIME: Duration = Duration::from_secs(60);

/// The status of a command that its timeout ended.
const TIMED_OUT: u8 = 124;

/// Writes standard input to a file: to a temporary file first, which replaces it when all bytes
/// have arrived. An existing file keeps its mode and owner, and a link stays a link.
const WRITE_FILE: &str = r#"
set -eu
path=$(readlink -m -- "$1")
mkdir -p -- "$(dirname -- "$path")"
[ ! -d "$path" ] || { echo "$1 is a directory" >&2; exit 1; }
new=$(mktemp -- "$path.XXXXXX")
trap 'rm -f -- "$new"' EXIT
cat > "$new"
[ "$(stat -c %s -- "$new")" = "$2" ]
if [ -e "$path" ]; then chmod --reference="$path" -- "$new"; chown --reference="$path" -- "$new"; else chmod 644 -- "$new"; fi
mv -f -- "$new" "$path"
"#;

#[tool_router(router = changing_router, vis = "pub(crate)")]
impl Server {
    /// Creates a VM and starts it. It is ready when this returns, which may take a minute.
    #[tool(annotations(destructive_hint = false, open_world_hint = false))]
    async fn create_vm(
        &self,
        Parameters(new): Parameters<NewVm>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        let vm = self.work(&context, move |work| {
            let request = request(work, new)?;
            work.client.create(&request, work.report())
        });
        reply::object(&VmSummary::of(&vm.await?))
    }

    /// Starts a VM that is stopped. It is ready when this returns, which may take a minute.
    #[tool(annotations(
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn start_vm(
        &self,
        Parameters(OneVm { vm }): Parameters<OneVm>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        let outcome = self.work(&context, move |work| {
            let vm = work.vm(&vm)?;
            work.client.start(&vm, &StartVm::default(), work.report())
        });
        reply::object(&VmSummary::of(&outcome.await?.vm))
    }

    /// Shuts a VM down cleanly. Its disks stay.
    #[tool(annotations(
        destructive_hint = false,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn stop_vm(
        &self,
        Parameters(OneVm { vm }): Parameters<OneVm>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        let stopped = self.work(&context, move |work| {
            let vm = work.vm(&vm)?;
            work.client.stop(&vm, &StopVm::default(), work.report())
        });
        reply::object(&VmSummary::of(&stopped.await?.vm))
    }

    /// Runs a command line in a running VM, as root unless another user is named, and returns its exit status,
    /// standard output and standard error.
    #[tool(annotations(destructive_hint = true, open_world_hint = true))]
    async fn exec(
        &self,
        Parameters(command): Parameters<OneCommand>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        self.work(&context, move |work| exec(work, &command)).await
    }

    /// Writes a text file in a running VM: whole, or not at all.
    #[tool(annotations(
        destructive_hint = true,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn write_file(
        &self,
        Parameters(file): Parameters<FileToWrite>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        let (path, size) = (file.path.clone(), file.content.len());
        self.work(&context, move |work| write_file(work, &file))
            .await?;
        Ok(reply::text(format!("{size} bytes written to {path}")))
    }
}

fn request(work: &Work<'_>, new: NewVm) -> Result<CreateVm> {
    let size = |text: Option<String>| {
        let parse = |text: String| {
            let invalid =
                |cause| Error::new(Code::Invalid, format!("`{text}` is not a size: {cause}"));
            text.parse::<Mib>().map_err(invalid)
        };
        text.map(parse).transpose()
    };
    let labels = work.policy.labels_of_new(new.name.as_deref())?;
    Ok(CreateVm {
        spec: VmSpecPatch {
            vcpu: new.vcpu,
            memory: size(new.memory)?,
            disk_size: size(new.disk_size)?,
            nat: new.nat,
            labels: LabelsPatch {
                add: labels,
                ..LabelsPatch::default()
            },
            ..VmSpecPatch::default()
        },
        name: new.name,
        image: new.image,
        no_start: false,
        temporary: false,
    })
}

fn exec(work: &Work<'_>, command: &OneCommand) -> Result<CallToolResult> {
    let vm = work.vm(&command.vm)?;
    let seconds = command.timeout_seconds.unwrap_or(USUAL_SECONDS);
    let seconds = seconds.clamp(1, MOST_SECONDS);
    let most = command
        .output_bytes
        .unwrap_or(USUAL_OUTPUT)
        .min(MOST_OUTPUT);
    let (mut stdout, mut stderr) = (Capture::new(most), Capture::new(most));
    let end = run(
        work,
        &vm,
        &Command {
            // A shell at level 2 does not clear the terminal when it exits, as Debian's
            // `.bash_logout` would.
            words: &["env", "SHLVL=1", "bash", "-lc", &command.command],
            user: command.user.as_deref(),
            directory: command.cwd.as_deref(),
            timeout: Some(Duration::from_secs(seconds)),
            stdin: command.stdin.as_deref().unwrap_or("").as_bytes(),
        },
        |stream, piece| match stream {
            OutputStream::Stdout => stdout.push(piece),
            OutputStream::Stderr => stderr.push(piece),
        },
    )?;
    let mut text = match end {
        CommandEnd::Exit(TIMED_OUT) => {
            format!("exit status 124: the timeout of {seconds} s may have ended it\n")
        }
        CommandEnd::Exit(status) => format!("exit status {status}\n"),
        CommandEnd::Refusal(_, reason) => return Err(Error::new(Code::Guest, reason)),
        CommandEnd::Enough => String::new(),
    };
    for (name, capture) in [("stdout", &stdout), ("stderr", &stderr)] {
        let output = capture.text();
        if !output.is_empty() {
            text += &format!("--- {name}\n{output}");
            text += if output.ends_with('\n') { "" } else { "\n" };
        }
    }
    Ok(reply::text(text))
}

fn write_file(work: &Work<'_>, file: &FileToWrite) -> Result<()> {
    let vm = work.vm(&file.vm)?;
    let failed = |cause: String| {
        Error::new(Code::Guest, format!("write `{}` in the VM", file.path)).cause(cause)
    };
    if file.content.len() > MOST_CONTENT {
        return Err(Error::new(
            Code::Invalid,
            format!("the content is larger than {} MiB", MOST_CONTENT >> 20),
        ));
    }
    let size = file.content.len().to_string();
    let mut errors = Capture::new(USUAL_OUTPUT);
    let end = run(
        work,
        &vm,
        &Command {
            words: &["sh", "-c", WRITE_FILE, "sh", &file.path, &size],
            timeout: Some(FILE_TIME),
            stdin: file.content.as_bytes(),
            ..Command::default()
        },
        |_, piece| errors.push(piece),
    )?;
    match end {
        CommandEnd::Exit(0) => Ok(()),
        CommandEnd::Refusal(_, reason) => Err(failed(reason)),
        CommandEnd::Exit(_) | CommandEnd::Enough => Err(failed(errors.text().trim().to_owned())),
    }
}

/// Runs a command to its end, unless the agent cancels it.
fn run(
    work: &Work<'_>,
    vm: &VmRef,
    command: &Command<'_>,
    mut on_output: impl FnMut(OutputStream, &[u8]),
) -> Result<CommandEnd> {
    let stream = work.client.exec(vm)?;
    work.close_on_cancellation(&stream.socket);
    stream.run(command, |stream, piece| {
        on_output(stream, piece);
        true
    })
}
