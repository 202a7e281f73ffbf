# The last step of a build: what belongs to this VM, and what only takes space, leaves the image.
set -eu
# Whatever still writes there would write again.
for unit in docker.socket docker.service containerd.service; do
  if systemctl --quiet is-active "$unit"; then systemctl stop "$unit"; fi
done
rm -rf /var/lib/docker /var/lib/containerd
if command -v apt-get >/dev/null; then apt-get clean; fi
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old
rm -rf /root/.cache /root/.bash_history /root/.lesshst /root/.viminfo /root/.wget-hsts
find /tmp /var/tmp -xdev -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' -exec rm -rf {} +
# What banger gives each VM itself.
rm -f /etc/ssh/ssh_host_* /etc/ssh/sshd_config.d/10-banger.conf /var/lib/systemd/random-seed \
  /var/lib/dbus/machine-id /etc/hosts
rm -rf /var/lib/banger
: >/etc/machine-id
echo localhost >/etc/hostname
# Logs last: what was done above may have written some.
systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket \
  systemd-journald.service 2>/dev/null || true
find /var/log -xdev -type f -delete
find /var/log/journal -xdev -mindepth 1 -delete 2>/dev/null || true
sync
# Blocks that are free take no space on the host, where the hypervisor passes that on.
fstrim --verbose / || echo 'free blocks are not given back'
sync
