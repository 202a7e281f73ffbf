//! The arguments of the tools. Their documentation is what the agent reads in the tools' schemas.

use rmcp::schemars::{self, JsonSchema};
use serde::Deserialize;

/// One VM.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneVm {
    /// The VM's name, or its id.
    pub(crate) vm: String,
}

/// A new VM.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewVm {
    /// Its name: lowercase letters, digits and hyphens. Two words are chosen if it is omitted.
    pub(crate) name: Option<String>,
    /// The image; the user's default if it is omitted.
    pub(crate) image: Option<String>,
    /// The number of its CPUs.
    pub(crate) vcpu: Option<u32>,
    /// Its memory, such as 2G or 512M.
    pub(crate) memory: Option<String>,
    /// The size of the disk of /root, such as 20G.
    pub(crate) disk_size: Option<String>,
    /// Whether it reaches the internet. The user's default if it is omitted.
    pub(crate) nat: Option<bool>,
}

/// A command in a VM.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneCommand {
    /// The VM's name, or its id.
    pub(crate) vm: String,
    /// The command line, for bash as a login shell.
    pub(crate) command: String,
    /// The directory to run in; the user's home if it is omitted.
    pub(crate) cwd: Option<String>,
    /// The user of the VM to run as; root if it is omitted.
    pub(crate) user: Option<String>,
    /// Text for the command's standard input.
    pub(crate) stdin: Option<String>,
    /// When the command is ended, in seconds: 120 if it is omitted, at most 3600.
    pub(crate) timeout_seconds: Option<u64>,
    /// The bytes of each of standard output and standard error that are returned: 32768 if it is omitted, at most
    /// 1048576. Of longer output the beginning and the end are returned.
    pub(crate) output_bytes: Option<usize>,
}

/// A file to read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileToRead {
    /// The VM's name, or its id.
    pub(crate) vm: String,
    /// The file's absolute path in the VM.
    pub(crate) path: String,
    /// The first byte to return, from 0.
    pub(crate) offset: Option<u64>,
    /// The bytes to return: 65536 if it is omitted, at most 1048576.
    pub(crate) limit: Option<usize>,
}

/// A file to write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileToWrite {
    /// The VM's name, or its id.
    pub(crate) vm: String,
    /// The file's absolute path in the VM. Missing directories are made.
    pub(crate) path: String,
    /// The whole content of the file.
    pub(crate) content: String,
}

/// The console of a VM.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Console {
    /// The VM's name, or its id.
    pub(crate) vm: String,
    /// The last lines to return: 100 if it is omitted, at most 2000.
    pub(crate) lines: Option<usize>,
}
