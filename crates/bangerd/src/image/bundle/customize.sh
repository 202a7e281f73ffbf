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

# ---- Units that a guest has no use for, and that cost each boot time: consoles that are not there,
# TPMs, and what banger has done before systemd starts. A unit is masked only if it is in the image
# and something of the image starts it: a package that the user installs works as on any Debian.
# Timers are Debian's own.
mask() {
  for unit in "$@"; do
    template=$(printf '%s' "$unit" | sed 's/@[^.]*\./@./')
    [ -e "$root/usr/lib/systemd/system/$template" ] || continue
    ln -sfn /dev/null "$root/etc/systemd/system/$unit"
  done
}
mask systemd-firstboot.service systemd-machine-id-commit.service systemd-random-seed.service \
  systemd-hwdb-update.service systemd-journal-catalog-update.service ldconfig.service \
  systemd-update-done.service systemd-sysusers.service systemd-hibernate-clear.service \
  systemd-pcrmachine.service systemd-pcrphase.service systemd-pcrphase-sysinit.service \
  systemd-udev-load-credentials.service systemd-pcrextend.socket systemd-pcrlock.socket systemd-tpm2-setup.service \
  systemd-tpm2-setup-early.service systemd-ask-password-console.path \
  modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service \
  modprobe@fuse.service getty@tty1.service serial-getty@ttyS0.service run-lock.mount
# Disabled, so that `systemctl enable` is all that it takes to have them.
for unit in e2scrub_reap.service systemd-pstore.service sshd-keygen.service; do
  rm -f "$root"/etc/systemd/system/*.wants/"$unit"
done
rmdir --ignore-fail-on-non-empty "$root"/etc/systemd/system/*.wants
# Nobody's agent is started unasked: it takes a program more at each login.
rm -f "$root/etc/systemd/user/sockets.target.wants/ssh-agent.socket"
# What no banger VM has: other boot loaders and disks, TPMs, words on the kernel's command line.
# systemd-ssh-generator would have sshd listen on AF_VSOCK and a Unix socket, too.
mkdir -p "$root/etc/systemd/system-generators" "$root/etc/systemd/user-generators"
for generator in systemd-bless-boot-generator systemd-debug-generator \
  systemd-factory-reset-generator systemd-gpt-auto-generator systemd-hibernate-resume-generator \
  systemd-rc-local-generator systemd-run-generator systemd-ssh-generator systemd-tpm2-generator; do
  [ -e "$root/usr/lib/systemd/system-generators/$generator" ] || continue
  ln -sfn /dev/null "$root/etc/systemd/system-generators/$generator"
done
ln -sfn /dev/null "$root/etc/systemd/user-generators/systemd-xdg-autostart-generator"
# The unit looks for /etc/rc.local itself, at less cost than the generator.
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sfn /usr/lib/systemd/system/rc-local.service \
  "$root/etc/systemd/system/multi-user.target.wants/rc-local.service"

# Each boot would load a module for it: programs of Python that are run without their source.
rm -f "$root"/usr/lib/binfmt.d/python3*.conf
# What lies in /tmp stays, as everything else in / does, however old it is.
ln -sfn /dev/null "$root/etc/systemd/system/tmp.mount"
settings /etc/tmpfiles.d/tmp.conf <<'END'
q /tmp 1777 root root -
q /var/tmp 1777 root root -
END
# Whoever has an account may log in as soon as sshd listens.
ln -sfn /dev/null "$root/etc/tmpfiles.d/systemd-nologin.conf"
# A guest that sleeps cannot be woken from outside.
settings /etc/systemd/sleep.conf.d/10-banger.conf <<'END'
[Sleep]
AllowSuspend=no
AllowHibernation=no
AllowSuspendThenHibernate=no
AllowHybridSleep=no
END

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
# sshd 9.8 and newer shuts an address out for minutes after it has knocked and gone, as a port scan,
# a health check or a login that is cut off does. All of a guest's logins come from one address,
# its host's. An older sshd does not know the word, and would not start.
if chroot "$root" /usr/sbin/sshd -G -o PerSourcePenalties=no >/dev/null 2>&1; then
  echo 'PerSourcePenalties no' | settings /etc/ssh/sshd_config.d/10-banger-image.conf
fi
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
# The locale is the guest's own: the host's, which ssh would send, is not installed here.
sed -i -e '/^AcceptEnv /s/ LANG LC_\*//' -e '/^AcceptEnv *$/d' "$root/etc/ssh/sshd_config"
# Root's user manager starts with the guest, not anew at each login.
mkdir -p "$root/var/lib/systemd/linger"
: > "$root/var/lib/systemd/linger/root"
# Terminals that call themselves otherwise than ncurses does. Real entries, when a package brings
# them, take the place of these.
while read -r name like; do
  entry=$root/usr/share/terminfo/$(printf '%.1s' "$name")/$name
  [ -e "$entry" ] || [ ! -e "$root/usr/share/terminfo/$(printf '%.1s' "$like")/$like" ] \
    || ln -s "../$(printf '%.1s' "$like")/$like" "$entry"
done <<'END'
xterm-kitty kitty
xterm-ghostty ghostty
foot-extra foot
xterm-rio rio
terminology-256color terminology
xterm-termite vte-256color
END
# A login shell from a terminal that nobody here knows.
settings /etc/profile.d/banger-terminal.sh <<'END'
if [ -n "${TERM-}" ]; then
  for banger_entry in "${TERMINFO:-$HOME/.terminfo}" "$HOME/.terminfo" /etc/terminfo /lib/terminfo /usr/share/terminfo; do
    banger_entry=$banger_entry/${TERM%"${TERM#?}"}/$TERM
    [ ! -e "$banger_entry" ] || break
  done
  [ -e "$banger_entry" ] || export TERM=xterm-256color
  unset banger_entry
fi
END
# Said where it is asked for: by whoever installs a kernel.
mkdir -p "$root/etc/kernel/postinst.d"
cat > "$root/etc/kernel/postinst.d/zz-banger" <<'END'
#!/bin/sh
echo "banger: this VM boots the kernel of its image, $(uname -r), not $1 from its disk."
echo "banger: a newer one comes with a new VM. On the host: banger bundle build, banger vm create"
END
chmod 755 "$root/etc/kernel/postinst.d/zz-banger"
for file in "$root"/etc/skel/.[!.]*; do
  [ -e "$root/root/${file##*/}" ] && [ "${file##*/}" != .bashrc ] || cp -a "$file" "$root/root/"
done
chroot "$root" passwd -q -l root
# What was left out to keep the image small is not left out of what is installed later.
rm -f "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$root/etc/apt/apt.conf.d/99mmdebstrap"
rm -rf "$root"/var/log/*.log "$root"/var/log/apt/* "$root"/var/cache/ldconfig/*
touch "$root/etc/.updated" "$root/var/.updated"
