# Read by the shell of mmdebstrap's last hook. $1 is the folder of the host's root file system,
# LAB_BOOT the folder that the kernel and its initramfs are copied to. It is one fixed text.
set -eu
root=$1
# Its input becomes a file.
settings() {
  mkdir -p "$root${1%/*}"
  cat > "$root$1"
}

# ---- The people: two ordinary users, and root for the tests themselves.
for user in ada:1000 bob:1001; do
  chroot "$root" useradd --create-home --shell /bin/bash --uid "${user#*:}" --user-group "${user%:*}"
done
chroot "$root" passwd -q -l root
settings /etc/sudoers.d/ada <<'END'
ada ALL=(ALL) NOPASSWD: ALL
END
chmod 440 "$root/etc/sudoers.d/ada"
# The key of each lab comes in over the kernel's command line, so the image holds none.
settings /etc/ssh/sshd_config.d/lab.conf <<'END'
PermitRootLogin prohibit-password
PasswordAuthentication no
AuthorizedKeysCommand /bin/cat /run/credentials/@system/lab.key
AuthorizedKeysCommandUser root
UseDNS no
MaxSessions 100
MaxStartups 100
END

# ---- The machine: its disk, the payload, one network card.
settings /etc/fstab <<'END'
/dev/vda / ext4 errors=remount-ro 0 1
LABEL=payload /srv/payload ext4 ro,nofail,x-systemd.device-timeout=30s 0 0
END
mkdir -p "$root/srv/payload"
settings /etc/systemd/network/10-lab.network <<'END'
[Match]
Driver=virtio_net

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
IPv6AcceptRA=no
LinkLocalAddressing=no
END
chroot "$root" systemctl --quiet enable systemd-networkd.service
rm -f "$root/etc/resolv.conf"
settings /etc/resolv.conf <<'END'
nameserver 10.0.2.3
END
settings /etc/hostname <<'END'
lab
END
settings /etc/hosts <<'END'
127.0.0.1 localhost lab
END
# KVM is everybody's, as it is on a desktop, where the one who sits there gets it.
settings /etc/udev/rules.d/99-lab.rules <<'END'
KERNEL=="kvm", MODE="0666"
END
# What was not flushed must not be kept by chance, so the journal is no witness of a power cut.
settings /etc/systemd/journald.conf.d/lab.conf <<'END'
[Journal]
Storage=persistent
SystemMaxUse=64M
ForwardToConsole=no
END

# ---- Nothing that only costs time: timers, consoles, what looks for devices.
for timer in "$root"/usr/lib/systemd/system/*.timer; do
  ln -sfn /dev/null "$root/etc/systemd/system/${timer##*/}"
done
for unit in e2scrub_reap.service systemd-networkd-wait-online.service systemd-pstore.service \
  systemd-hwdb-update.service systemd-journal-catalog-update.service ldconfig.service \
  systemd-update-done.service getty@tty1.service serial-getty@ttyS0.service \
  dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
  modprobe@drm.service modprobe@efi_pstore.service keyboard-setup.service \
  console-setup.service ssh.socket; do
  ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done
mkdir -p "$root/etc/systemd/system-generators"
ln -sfn /dev/null "$root/etc/systemd/system-generators/systemd-ssh-generator"
printf 'LANG=C.UTF-8\n' > "$root/etc/default/locale"

# ---- The kernel and an initramfs of just what finds the disk.
settings /etc/initramfs-tools/conf.d/lab <<'END'
MODULES=list
COMPRESS=zstd
END
printf 'virtio_pci\nvirtio_blk\next4\n' >> "$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u >&2
cat "$root"/boot/vmlinuz-* > "$LAB_BOOT/vmlinuz"
cat "$root"/boot/initrd.img-* > "$LAB_BOOT/initrd"
rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id" "$root"/boot/initrd.img-*
echo uninitialized > "$root/etc/machine-id"
rm -f "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$root/etc/apt/apt.conf.d/99mmdebstrap"
touch "$root/etc/.updated" "$root/var/.updated"
