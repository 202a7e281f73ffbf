# Adds to the root file system on the second disk what a VM boots with. The script INSIDE runs in it,
# with the network of this VM; its services are not started.
set -eu
root=/run/banger-image
mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/etc" "$root/usr/sbin"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --bind /dev "$root/dev"
mount --bind /dev/pts "$root/dev/pts"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
resolv=$root/etc/resolv.conf
if [ -e "$resolv" ] || [ -L "$resolv" ]; then mv "$resolv" "$resolv.of-image"; fi
cat /etc/resolv.conf >"$resolv"
# Images of containers have one too, which shall not keep a VM's services from starting.
policy=$root/usr/sbin/policy-rc.d
rm -f "$policy"
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"
cat >"$root/run/install" <<'INSIDE'
set -eu
set --
. /etc/os-release
if [ "${ID:-}" = debian ]; then
  : SOURCES
fi
set -- -q -o Acquire::Retries=5 "$@"
apt-get "$@" update
apt-get "$@" install --yes --no-install-recommends systemd-sysv libpam-systemd udev dbus kmod \
  iproute2 e2fsprogs procps openssh-server
systemctl enable ssh.service
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
INSIDE
chroot "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive /bin/sh /run/install
