//! The objects on a lab's host that a VM may leave behind.

use crate::host::Lab;

/// Lists, one on each line, every object of a kind that banger makes for a VM: links, routes,
/// forwarding, rules, devices, loops, mounts, processes of VMMs, their units, and folders of VMs.
const LIST: &str = r#"
set +e
ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/link \1/'
ip -4 route | sed 's/^/route /; s/ *$//'
for file in /proc/sys/net/ipv4/conf/*/forwarding; do echo "$file $(cat $file)"; done
nft list tables
for device in /sys/block/dm-*/dm/name; do [ -e $device ] && echo "device $(cat $device)"; done
for file in /sys/block/loop*/loop/backing_file; do [ -e $file ] && echo "loop $(cat $file)"; done
ls -d /dev/banger/* /run/netns/* 2>/dev/null
awk '{ print "mount", $2 }' /proc/mounts | grep -v -e /run/user -e binfmt_misc -e /run/credentials
for process in /proc/[0-9]*; do
  case $(readlink $process/exe) in */qemu-system* | *firecracker* | *jailer*) echo "process $process" ;; esac
done
systemctl list-units --all --plain --no-legend 'banger-1-*' | awk '{ print "unit", $1 }'
find /sys/fs/cgroup -type d -name '*banger-1-*' | sed 's/^/cgroup /'
for vms in /root/.local/state/banger/vms /home/*/.local/state/banger/vms; do
  [ -d $vms ] && ls -d $vms/* 2>/dev/null
done
ls -d /root/.local/state/banger/jails/*/* 2>/dev/null
true
"#;

/// The current objects, as sorted lines.
pub(crate) fn list(lab: &Lab) -> Vec<String> {
    let mut lines: Vec<String> = lab.root(LIST).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Panics with the objects that are new or missing.
pub(crate) fn assert_none(lab: &Lab, before: &[String]) {
    let now = list(lab);
    let more: Vec<_> = now.iter().filter(|it| !before.contains(it)).collect();
    let gone: Vec<_> = before.iter().filter(|it| !now.contains(it)).collect();
    assert!(
        more.is_empty() && gone.is_empty(),
        "left: {more:#?}\ngone: {gone:#?}"
    );
}
