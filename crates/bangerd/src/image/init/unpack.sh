# Replaces what is on the second disk, which `prepare` has taken from /root, by the archive on standard
# input.
set -eu
root=/run/banger-image
mkdir -p "$root"
mount "$(cat /run/banger-build.disk)" "$root"
find "$root" -mindepth 1 -delete
tar --extract --same-owner --numeric-owner --preserve-permissions --xattrs '--xattrs-include=*' \
  --sparse --directory "$root" --file -
sync
