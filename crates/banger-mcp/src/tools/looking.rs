//! Tools that change nothing.

use std::collections::VecDeque;
use std::time::Duration;

use banger_api::client::{Command, CommandEnd, OutputStream};
use banger_api::{Code, Error, Result, VmView, harmless};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::service::RequestContext;
use rmcp::{RoleServer, tool, tool_router};
use serde_json::json;

use super::VmSummary;
use crate::arguments::{Console, FileToRead, OneVm};
use crate::reply::{self, Reply};
use crate::server::{Server, Work};

/// The number of bytes of a file that are returned: the maximum, and the default.
const MOST_OF_A_FILE: usize = 1 << 20;
const USUAL_PART_OF_A_FILE: usize = 64 << 10;

/// How long reading a file may take.
const FILE_TIME: Duration = Duration::from_secs(60);

/// The number of lines of a console that are returned, the maximum and the default; and the bytes
/// that are kept for them.
const MOST_LINES: usize = 2000;
const USUAL_LINES: usize = 100;
const CONSOLE_BYTES: usize = 256 << 10;

#[tool_router(router = looking_router, vis = "pub(crate)")]
impl Server {
    /// Lists the VMs: name, phase, image, CPUs, memory, internet access, address, labels.
    #[tool(annotations(read_only_hint = true, open_world_hint = false))]
    async fn list_vms(&self, context: RequestContext<RoleServer>) -> Reply {
        let vms = self.work(&context, |work| {
            let mut vms = work.client.list()?;
            vms.retain(|vm| work.policy.admits(vm));
            Ok(vms)
        });
        let vms = vms.await?;
        let vms: Vec<VmSummary<'_>> = vms.iter().map(VmSummary::of).collect();
        reply::object(&json!({ "vms": vms }))
    }

    /// Shows one VM: settings, disks, notes, and how it ended last.
    #[tool(annotations(read_only_hint = true, open_world_hint = false))]
    async fn show_vm(
        &self,
        Parameters(OneVm { vm }): Parameters<OneVm>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        let view = self.work(&context, move |work| work.find(&vm)).await?;
        // The SSH connection, with the path of its private key, is for the user only.
        reply::object(&VmView { ssh: None, ..view })
    }

    /// Lists the TCP and UDP ports that programs in a VM listen on.
    #[tool(annotations(read_only_hint = true, open_world_hint = false))]
    async fn list_ports(
        &self,
        Parameters(OneVm { vm }): Parameters<OneVm>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        let ports = self.work(&context, move |work| work.client.ports(&work.vm(&vm)?));
        reply::object(&json!({ "ports": ports.await? }))
    }

    /// Reads the last lines of a VM's serial console, where the kernel and the boot write.
    #[tool(annotations(read_only_hint = true, open_world_hint = false))]
    async fn read_console(
        &self,
        Parameters(Console { vm, lines }): Parameters<Console>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        let lines = lines.unwrap_or(USUAL_LINES).min(MOST_LINES);
        let text = self.work(&context, move |work| last_lines(work, &vm, lines));
        Ok(reply::text(text.await?))
    }

    /// Reads a text file of a VM, or a part of it.
    #[tool(annotations(read_only_hint = true, open_world_hint = false))]
    async fn read_file(
        &self,
        Parameters(file): Parameters<FileToRead>,
        context: RequestContext<RoleServer>,
    ) -> Reply {
        let text = self.work(&context, move |work| read_file(work, &file));
        Ok(reply::text(text.await?))
    }
}

/// The last lines of a console, harmless for a terminal.
fn last_lines(work: &Work<'_>, vm: &str, lines: usize) -> Result<String> {
    let vm = work.vm(vm)?;
    let mut end = VecDeque::new();
    for piece in work.client.logs(&vm, false)? {
        end.extend(piece?);
        let over = end.len().saturating_sub(CONSOLE_BYTES);
        end.drain(..over);
    }
    let text = String::from_utf8_lossy(end.make_contiguous()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    Ok(harmless::visible(&last.join("\n").replace('\r', "")))
}

fn read_file(work: &Work<'_>, file: &FileToRead) -> Result<String> {
    let vm = work.vm(&file.vm)?;
    let limit = file.limit.unwrap_or(USUAL_PART_OF_A_FILE);
    let limit = limit.clamp(1, MOST_OF_A_FILE);
    let offset = file.offset.unwrap_or(0);
    let first = format!("+{}", offset.saturating_add(1));
    let command = Command {
        words: &["tail", "-c", &first, "--", &file.path],
        timeout: Some(FILE_TIME),
        ..Command::default()
    };
    let stream = work.client.exec(&vm)?;
    work.close_on_cancellation(&stream.socket);
    let (mut bytes, mut errors) = (Vec::new(), Vec::new());
    let end = stream.run(&command, |stream, piece| {
        match stream {
            OutputStream::Stdout => bytes.extend_from_slice(piece),
            OutputStream::Stderr => errors.extend_from_slice(piece),
        }
        bytes.len() <= limit && errors.len() <= limit
    })?;
    let failed = |cause: String| {
        Error::new(Code::Guest, format!("read `{}` in the VM", file.path)).cause(cause)
    };
    match end {
        CommandEnd::Exit(0) | CommandEnd::Enough => {}
        CommandEnd::Exit(_) => return Err(failed(String::from_utf8_lossy(&errors).into_owned())),
        CommandEnd::Refusal(_, reason) => return Err(failed(reason)),
    }
    let has_more = bytes.len() > limit;
    bytes.truncate(limit);
    let count = bytes.len() as u64;
    let mut text = text_of(bytes, has_more)
        .ok_or_else(|| failed("it is not text in UTF-8".to_owned()).hint("use exec with base64"))?;
    if has_more {
        text += &format!(
            "\n[… more follows; read on with offset {} …]",
            offset + count
        );
    }
    Ok(text)
}

/// The text of these bytes. If more follow, the last character may be incomplete.
fn text_of(mut bytes: Vec<u8>, has_more: bool) -> Option<String> {
    if let Err(cause) = std::str::from_utf8(&bytes) {
        if cause.error_len().is_some() || !has_more {
            return None;
        }
        let whole = cause.valid_up_to();
        bytes.truncate(whole);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_cut_only_where_more_follows() {
        let bytes = "aé".as_bytes();
        assert_eq!(text_of(bytes.to_vec(), false).as_deref(), Some("aé"));
        assert_eq!(text_of(bytes[..2].to_vec(), true).as_deref(), Some("a"));
        assert_eq!(text_of(bytes[..2].to_vec(), false), None);
        assert_eq!(text_of(b"a\xffb".to_vec(), true), None);
    }
}
