# The user's shell in the VM of a build. The step of the build waits for this process, whose number is in
# shell.pid, and ends with the status in shell.status.
echo $$ >/run/banger-shell.pid
cd /root
program=$(getent passwd root | cut -d: -f7)
status=0
"${program:-/bin/sh}" -l || status=$?
if [ "$status" -ne 0 ] && [ -t 0 ] && [ "$1" = keep ]; then
  printf 'The shell has ended with status %s. Keep the changes? [y/N] ' "$status"
  read -r answer || answer=
  case $answer in
    [yY]*) status=0 ;;
  esac
fi
echo "$status" >/run/banger-shell.status
exit "$status"
