# Read by the shell of mmdebstrap's last hook, which sees the users as the guest will. $1 is the
# folder of the root file system, BANGER_VMLINUZ the file that the packed kernel is written to,
# BANGER_SUITE the Debian suite. Nothing else comes from outside: it is one fixed text.
set -eu
root=$1
remark() { echo "I: $1" >&2; }
# The programs of apt, as mmdebstrap itself runs them: its own lists, nothing of the host's.
apt() { APT_CONFIG=$MMDEBSTRAP_APT_CONFIG "$@"; }
# Its input becomes a file, after a line that says whose it is.
settings() {
  mkdir -p "$root${1%/*}"
  { echo '# Made by banger when this root file system was built.'; cat; } > "$root$1"
}

# ---- The kernel: downloaded and unpacked, never installed, so that no initramfs is made of it.
remark 'downloading the kernel'
package=$(apt apt-cache depends --important linux-image-cloud-amd64 \
  | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
[ -n "$package" ] || { echo 'E: the suite has no linux-image-cloud-amd64' >&2; exit 1; }
mkdir "$root/banger-kernel"
(cd "$root/banger-kernel" && apt apt-get -qq -o APT::Sandbox::User=root download "$package") >&2
remark 'unpacking the kernel'
chroot "$root" dpkg-deb -x /banger-kernel/"$(cd "$root/banger-kernel" && echo *.deb)" /banger-kernel/tree
cat "$root"/banger-kernel/tree/boot/vmlinuz-* > "$BANGER_VMLINUZ"
mkdir -p "$root/usr/lib/modules"
for modules in "$root"/banger-kernel/tree/lib/modules/* "$root"/banger-kernel/tree/usr/lib/modules/*; do
  [ -d "$modules" ] || continue
  rm -f "$modules/build" "$modules/source"
  mv "$modules" "$root/usr/lib/modules/"
  chroot "$root" depmod "${modules##*/}"
done
rm -rf "$root/banger-kernel"

# ---- What banger gives each VM itself: host keys, machine-id, resolvers, host name, clock.
remark 'settling the root file system'
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" "$root/etc/resolv.conf" \
  "$root/var/lib/systemd/random-seed" "$root/etc/hosts"
: > "$root/etc/machine-id"
: > "$root/etc/fstab"
ln -s /run/banger/resolv.conf "$root/etc/resolv.conf"
echo localhost > "$root/etc/hostname"

# ---- Timers are masked, not disabled: no package's upgrade brings them back.
for timer in "$root"/usr/lib/systemd/system/*.timer "$root"/etc/systemd/system/*.wants/*.timer; do
  [ -e "$timer" ] || [ -L "$timer" ] || continue
  case ${timer##*/} in *@.timer) continue ;; esac
  ln -sfn /dev/null "$root/etc/systemd/system/${timer##*/}"
done
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all fstrim logrotate man-db \
  systemd-tmpfiles-clean; do
  ln -sfn /dev/null "$root/etc/systemd/system/$timer.timer"
done

# ---- Units that a guest has no use for, and that cost each boot time: what waits for devices or
# the network, consoles that are not there, TPMs, file systems that nobody looks at, and what
# banger has done before systemd starts.
for unit in apt-daily.service apt-daily-upgrade.service e2scrub_reap.service \
  systemd-pstore.service systemd-udev-settle.service \
  systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
  systemd-network-generator.service systemd-resolved.service systemd-timesyncd.service \
  networking.service ifupdown-wait-online.service sshd-keygen.service ssh.socket \
  systemd-firstboot.service systemd-machine-id-commit.service systemd-growfs-root.service \
  systemd-hwdb-update.service systemd-journal-catalog-update.service ldconfig.service \
  systemd-update-done.service systemd-sysusers.service systemd-remount-fs.service \
  systemd-pcrmachine.service systemd-pcrphase.service systemd-pcrphase-sysinit.service \
  systemd-pcrextend.socket systemd-pcrlock.socket systemd-tpm2-setup.service \
  systemd-tpm2-setup-early.service systemd-hibernate-clear.service systemd-bsod.service \
  systemd-battery-check.service systemd-udev-load-credentials.service systemd-ask-password-console.path \
  dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
  sys-kernel-config.mount sys-fs-fuse-connections.mount \
  modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service \
  modprobe@fuse.service keyboard-setup.service console-setup.service \
  getty@tty1.service serial-getty@ttyS0.service \
  run-lock.mount systemd-random-seed.service; do
  ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done
rm -rf "$root"/etc/systemd/system/*.wants/sshd-keygen.service "$root/etc/systemd/system/timers.target.wants"
rmdir --ignore-fail-on-non-empty "$root"/etc/systemd/system/*.wants
# systemd-ssh-generator would have sshd listen on AF_VSOCK and a Unix socket, too.
mkdir -p "$root/etc/systemd/system-generators"
for generator in systemd-bless-boot-generator systemd-cryptsetup-generator \
  systemd-debug-generator systemd-factory-reset-generator systemd-gpt-auto-generator \
  systemd-hibernate-resume-generator systemd-import-generator systemd-integritysetup-generator \
  systemd-rc-local-generator systemd-run-generator systemd-ssh-generator \
  systemd-system-update-generator systemd-tpm2-generator systemd-veritysetup-generator; do
  ln -sfn /dev/null "$root/etc/systemd/system-generators/$generator"
done

# What lies in /tmp stays, as everything else in / does.
ln -sfn /dev/null "$root/etc/systemd/system/tmp.mount"

# ---- sshd first. It needs nothing of what comes up before sysinit.target, so it does not wait
# for it, and the scheduler prefers it until the boot is done. What it is ordered after by its
# own unit (network.target) it still waits for, where somebody installs a network daemon.
settings /etc/systemd/system/ssh.service.d/10-banger.conf <<'END'
[Unit]
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
After=systemd-journald.socket dbus.socket home.mount root.mount

[Service]
ExecStartPre=
StartupCPUWeight=10000
END
# A login that comes before the bus is up waits for it instead of doing without.
settings /etc/systemd/system/dbus.socket.d/10-banger.conf <<'END'
[Unit]
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target sockets.target
END
# Loaded at each boot otherwise, which means unpacked, and their signatures checked: what systemd
# asks for, and the drivers of QEMU's machine that nothing is attached to.
settings /etc/modprobe.d/10-banger.conf <<'END'
blacklist ip_tables
blacklist qemu_fw_cfg
blacklist ahci
blacklist serio_raw
blacklist lpc_ich
blacklist i2c_i801
END
# ping(8) for everybody.
settings /etc/sysctl.d/10-banger.conf <<'END'
net.ipv4.ping_group_range = 0 2147483647
END
settings /etc/systemd/journald.conf.d/10-banger.conf <<'END'
[Journal]
SystemMaxUse=64M
RuntimeMaxUse=16M
END
settings /etc/systemd/system.conf.d/10-banger.conf <<'END'
[Manager]
DefaultTimeoutStopSec=15s
END

printf '{ "schema": 1, "suite": "%s", "created": "%s" }\n' "$BANGER_SUITE" "$(date -u +%FT%TZ)" \
  > "$root/etc/banger-image.json"

# ---- A home that is pleasant to be in.
printf 'LANG=C.UTF-8\n' > "$root/etc/default/locale"
for file in "$root"/etc/skel/.[!.]*; do
  [ -e "$root/root/${file##*/}" ] && [ "${file##*/}" != .bashrc ] || cp -a "$file" "$root/root/"
done
chroot "$root" passwd -q -l root
# What was left out to keep the image small is not left out of what is installed later.
rm -f "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$root/etc/apt/apt.conf.d/99mmdebstrap"
rm -rf "$root"/var/log/*.log "$root"/var/log/apt/* "$root"/var/cache/ldconfig/*
touch "$root/etc/.updated" "$root/var/.updated"
