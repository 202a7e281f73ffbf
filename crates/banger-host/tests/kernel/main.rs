//! The operations that need a kernel of their own: device-mapper and loop devices.
//!
//! ```text
//!   this program ──► an initramfs: itself as /init, its libraries, modules of the bundle
//!        ▲                  │
//!        │ lines            ▼
//!        └── serial ── the bundle's kernel, under QEMU, in software: every case, one by one
//! ```
//!
//! `BANGER_TEST_BUNDLE` names the bundle. With the argument `measure` it measures chunk sizes
//! instead (docs/storage.md).

#![expect(clippy::print_stdout, reason = "it speaks as the test harness does")]
#![expect(clippy::unwrap_used, reason = "a test")]

mod cases;
mod foreign;
mod full;
mod initramfs;
mod inside;
mod machine;
mod measure;
mod outside;
mod place;

fn main() -> std::process::ExitCode {
    if std::process::id() == 1 {
        inside::run();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("make" | "remove") => inside::child(&arguments),
        Some("wait") => inside::wait(),
        Some("measure") => outside::run(true),
        _ => outside::run(false),
    }
}
