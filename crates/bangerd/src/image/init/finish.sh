# What belongs to this VM, or to a container, leaves the second disk, which becomes the image.
set -eu
root=/run/banger-image
chroot "$root" /lib/systemd/systemd --version
rm -f "$root/usr/sbin/policy-rc.d" "$root/.dockerenv" "$root/etc/resolv.conf"
if [ -e "$root/etc/resolv.conf.of-image" ] || [ -L "$root/etc/resolv.conf.of-image" ]; then
  mv "$root/etc/resolv.conf.of-image" "$root/etc/resolv.conf"
fi
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/systemd/random-seed" \
  "$root/var/lib/dbus/machine-id" "$root/etc/hosts"
: >"$root/etc/machine-id"
echo localhost >"$root/etc/hostname"
find "$root/var/log" "$root/tmp" -xdev -type f -delete
umount "$root/run" "$root/dev/pts" "$root/dev" "$root/sys" "$root/proc"
sync
# Blocks that are free take no space on the host, where the hypervisor passes that on.
fstrim --verbose "$root" || echo 'free blocks are not given back'
umount "$root"
sync
