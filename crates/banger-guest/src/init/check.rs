//! Repairs a file system that has errors, with the image's own `e2fsck -p`.
//!
//! The tool is on the disk that it repairs. So that disk is mounted read-only and without replaying
//! its journal, and the tool is copied into memory with the libraries that its loader names. The
//! disk is unmounted before the tool runs on it.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

use banger_guest::elf::Elf;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::failure::{Context as _, Failure, Result};
use crate::system::replace::make_directory;
use crate::system::{console, enter};

/// The read-only mount point of the image, and the folder of the tool's copy.
const IMAGE: &str = "/run/check/image";
const TOOL: &str = "/run/check/tool";

/// The paths of the tool in an image.
const PATHS: [&str; 3] = ["/sbin/e2fsck", "/usr/sbin/e2fsck", "/usr/bin/e2fsck"];

/// The lowest exit status with which `e2fsck` left errors uncorrected, or failed.
const NOT_MENDED: i32 = 4;

/// Repairs the root disk, which is not mounted.
pub(crate) fn check_root(device: &str) -> Result<()> {
    make_directory(Path::new(IMAGE), 0o755).while_doing(|| format!("make `{IMAGE}`"))?;
    mount(device, IMAGE, "ext4", MountFlags::RDONLY, c"noload")
        .while_doing(|| "mount it read-only".to_owned())?;
    let copied = copy_tool();
    unmount(IMAGE, UnmountFlags::empty()).while_doing(|| "unmount it again".to_owned())?;
    let tool = copied?;
    for at in ["/dev", "/proc"] {
        let there = format!("{TOOL}{at}");
        make_directory(Path::new(&there), 0o755).while_doing(|| format!("make `{there}`"))?;
        mount_bind(at, there.as_str()).while_doing(|| format!("mount `{there}`"))?;
    }
    let checked = run(&mut enter::inside(TOOL, tool), device);
    for at in ["/dev", "/proc"] {
        let there = format!("{TOOL}{at}");
        unmount(there.as_str(), UnmountFlags::empty())
            .while_doing(|| format!("unmount `{there}`"))?;
    }
    let _ = fs::remove_dir_all("/run/check");
    checked
}

/// Repairs another disk, which is not mounted, while the image is the root.
pub(crate) fn check_disk(device: &str) -> Result<()> {
    let tool = find("/")?;
    run(&mut enter::program(tool), device)
}

fn find(root: &str) -> Result<&'static str> {
    let is_there = |path: &&&str| fs::exists(format!("{root}{path}")).unwrap_or(false);
    PATHS
        .iter()
        .find(is_there)
        .copied()
        .ok_or_else(|| Failure::new("the image has no `e2fsck`"))
}

fn run(tool: &mut Command, device: &str) -> Result<()> {
    console::warn(&format!(
        "`{device}` has errors; running `e2fsck -p {device}`"
    ));
    let ended = tool
        .args(["-p", device])
        .output()
        .while_doing(|| "run `e2fsck`".to_owned())?;
    for line in [ended.stdout.as_slice(), &ended.stderr]
        .concat()
        .split(|&byte| byte == b'\n')
    {
        if !line.is_empty() {
            console::warn(&format!("e2fsck: {}", String::from_utf8_lossy(line)));
        }
    }
    judge(ended.status, device)
}

fn judge(status: ExitStatus, device: &str) -> Result<()> {
    match status.code() {
        Some(code) if code < NOT_MENDED => Ok(()),
        Some(_) => Err(Failure::new(format!(
            "`e2fsck -p` cannot repair it alone: start with `--rescue` and run `e2fsck {device}`"
        ))),
        None => Err(Failure::new(format!("`e2fsck` was killed ({status})"))),
    }
}

/// Copies the tool, its loader and its libraries from the image; returns the copy's path.
fn copy_tool() -> Result<&'static str> {
    let tool = find(IMAGE)?;
    let mut needed = vec![tool.to_owned()];
    let what = || format!("read the image's `{tool}`");
    let program = fs::read(format!("{IMAGE}{tool}")).while_doing(what)?;
    if let Some(loader) = Elf::parse(&program).and_then(|it| it.loader) {
        let loader = String::from_utf8_lossy(loader).into_owned();
        let listed = enter::inside(IMAGE, &loader)
            .args(["--list", tool])
            .output()
            .while_doing(|| format!("run `{loader}`"))?;
        needed.extend(libraries(&String::from_utf8_lossy(&listed.stdout)));
        needed.push(loader);
    }
    for path in needed {
        let to = format!("{TOOL}{path}");
        let folder = Path::new(&to).parent().unwrap_or(Path::new(TOOL));
        make_directory(folder, 0o755).while_doing(|| format!("make `{}`", folder.display()))?;
        let from = in_image(&path)?;
        fs::copy(&from, &to).while_doing(|| format!("copy `{from}`"))?;
    }
    Ok(tool)
}

/// The path of a file of the image, with absolute links resolved within the image.
fn in_image(path: &str) -> Result<String> {
    let mut inside = path.to_owned();
    for _ in 0..8 {
        match fs::read_link(format!("{IMAGE}{inside}")) {
            Ok(link) if link.is_absolute() => inside = link.to_string_lossy().into_owned(),
            _ => return Ok(format!("{IMAGE}{inside}")),
        }
    }
    Err(Failure::new(format!(
        "`{path}` is an endless chain of links"
    )))
}

/// The files in a loader's list: `libx.so.1 => /lib/libx.so.1 (0x7f…)`, or the path alone.
fn libraries(listed: &str) -> Vec<String> {
    let path = |line: &str| {
        let word = line.split_whitespace().find(|word| word.starts_with('/'));
        word.map(str::to_owned)
    };
    listed.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn a_loaders_list_is_read() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibext2fs.so.2 => /lib/x86_64-linux-gnu/libext2fs.so.2 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n\tlibgone.so => not found\n";
        assert_eq!(
            libraries(listed),
            [
                "/lib/x86_64-linux-gnu/libext2fs.so.2",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }

    #[test]
    fn what_was_mended_is_fine_and_what_was_not_names_the_way_out() {
        for code in [0, 1, 2, 3] {
            judge(ExitStatus::from_raw(code << 8), "/dev/vda").unwrap();
        }
        let refused = judge(ExitStatus::from_raw(4 << 8), "/dev/vda")
            .unwrap_err()
            .to_string();
        assert!(refused.contains("--rescue"), "{refused}");
        judge(ExitStatus::from_raw(9), "/dev/vda").unwrap_err();
    }
}
