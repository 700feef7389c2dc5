#!/bin/sh
# Runs the command given until it ends, or until our standard input does: whoever holds that is gone. We lead a process
# group: SIGTERM comes to all of it, and who is left of it after the grace is killed.
exec 3<&0
"$@" </dev/null 3<&- >&2 &
server=$!
{ cat <&3; kill -TERM "$server"; sleep 10; kill -KILL 0; } >/dev/null 2>&1 &
exec 3<&-
trap : TERM
wait "$server"
code=$?
# A signal ends the wait before the server has ended.
while kill -0 "$server" 2>/dev/null; do
  wait "$server"
  code=$?
done
exit "$code"
