#!/bin/sh
# What OpenSSH's regression scripts call `sshd`: a pipe to the bastion where one is wanted on a pipe; else a process to be ended, since the
# bastion listens on their port.
case " $* " in
  *' -t '*) exit 0 ;;
  *' -i '*) exec "$BARTIZAN_OBJ/netcat" -N 127.0.0.1 "$TEST_SSH_PORT" ;;
esac
sh -c 'sleep 300 & trap "rm -f $BARTIZAN_OBJ/pidfile; kill $!; exit 0" TERM; echo $$ > "$BARTIZAN_OBJ/pidfile"; wait' \
  > /dev/null 2>&1 < /dev/null &
