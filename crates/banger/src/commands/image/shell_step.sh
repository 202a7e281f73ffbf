# Waits for the shell that the user has in this VM. One that is gone without a word, as after the end of
# its connection, changes nothing.
waited=0
until [ -s /run/banger-shell.pid ]; do
  sleep 1
  waited=$((waited + 1))
  if [ "$waited" -gt 300 ]; then
    echo 'nobody has opened the shell'
    exit 1
  fi
done
read -r pid </run/banger-shell.pid
while kill -0 "$pid" 2>/dev/null; do sleep 1; done
if ! read -r status </run/banger-shell.status; then
  echo 'the connection to the shell has ended'
  exit 1
fi
rm -f /run/banger-shell.pid /run/banger-shell.status
if [ "$DISCARD" = yes ]; then
  echo 'the changes are discarded'
  exit 1
fi
exit "$status"
