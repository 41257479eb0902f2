#!/bin/sh
# What OpenSSH's regression scripts call `ssh`: the real one, with words before all others, so that they count. They say who logs in, to
# which target, with which keys. Of the algorithms it tells those that the bastion offers.
case " $* " in
  *' -Q key-plain '*) echo ssh-ed25519; exit ;;
  *' -Q kex '*) printf '%s\n' curve25519-sha256 curve25519-sha256@libssh.org; exit ;;
  *' -Q cipher '*)
    printf '%s\n' aes128-gcm@openssh.com aes256-gcm@openssh.com chacha20-poly1305@openssh.com aes256-ctr aes128-ctr; exit ;;
  *' -Q mac '*) printf '%s\n' hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com; exit ;;
  *' -Q cipher-auth '*) printf '%s\n' aes128-gcm@openssh.com aes256-gcm@openssh.com chacha20-poly1305@openssh.com; exit ;;
  *' -Q '*) exec /usr/bin/ssh "$@" ;;
esac
trust="-o UserKnownHostsFile=$BARTIZAN_KEYS/known_hosts -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes -o IdentityAgent=none"
if [ "$BARTIZAN_ROUTE" = Direct ]; then
  exec /usr/bin/ssh -o User=ana+root+db1 -o HostKeyAlias=bastion.test $trust \
    -i "$BARTIZAN_KEYS/ana-device" -i "$BARTIZAN_KEYS/ana-key" "$@"
fi
# By a jump its connection is one inside a login to the bastion, and that login goes the way the script wanted: to its port, or
# through its proxy command.
configuration=$BARTIZAN_CONFIGURATION
for word do
  shift
  case $word in
    [Pp]roxy[Cc]ommand[=\ ]*)
      proxy=${word#?????????????}
      case $proxy in *sshd-log-wrapper*) ;; *)
        configuration=$(mktemp "$BARTIZAN_OBJ/outer.XXXXXX")
        printf 'Host *\n  ProxyCommand %s\nInclude %s\n' "$proxy" "$BARTIZAN_CONFIGURATION" > "$configuration" ;;
      esac
      word=BatchMode=yes ;;
  esac
  set -- "$@" "$word"
done
outer="/usr/bin/ssh -F $configuration -o BatchMode=yes -o ConnectionAttempts=10 -p %p -W db1:22 ana@bastion"
exec /usr/bin/ssh -o User=root -o HostKeyAlias=db1 -o ProxyCommand="$outer" $trust "$@"
