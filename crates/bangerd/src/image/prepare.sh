# The first step of a build. The image is the system disk: what a recipe writes to /root shall be on
# it, and not on the work disk that is mounted there.
set -eu
if mountpoint -q /root; then
  findmnt --noheadings --output SOURCE --target /root >/run/banger-build.disk
  umount --lazy /root
fi
# Debian's own upgrades hold apt's locks.
systemctl stop apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service 2>/dev/null || true
