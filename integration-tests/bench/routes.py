"""The ways to one target: straight, by `ssh -J` through sshd, through a recorded ForceCommand, and through Bartizan both ways in.

Everything listens on loopback, lives in one folder and ends with the bench."""
import base64
import hashlib
import hmac
import os
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field

from accounting import Group

SECRET = b"bartizan-bench-seed!"
SSHD = """ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/person.pub
TrustedUserCAKeys {folder}/user_ca.pub
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PrintLastLog no
MaxStartups 4000:30:8000
MaxSessions 4000
LogLevel ERROR
Subsystem sftp internal-sftp
"""
CLIENT = """  HostName 127.0.0.1
  User root
  IdentityFile {folder}/person
  IdentitiesOnly yes
  IdentityAgent none
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  GlobalKnownHostsFile /dev/null
  LogLevel ERROR
  PreferredAuthentications publickey
  Ciphers aes128-gcm@openssh.com,aes256-gcm@openssh.com
"""
RECORDED = """#!/bin/sh
record={folder}/typescripts/$$
onward="ssh -F {folder}/ssh_config"
if [ -t 0 ]; then exec script -q -e -f -c "$onward -tt direct '$SSH_ORIGINAL_COMMAND'" "$record"; fi
tee "$record.in" | $onward -T direct "$SSH_ORIGINAL_COMMAND" | tee "$record.out"
"""


@dataclass
class Route:
    """A command line in front of a remote command, and whose CPU it costs."""

    name: str
    command: list
    group: Group


@dataclass
class Routes:
    """All of them, running."""

    folder: str
    binary: str
    routes: list = field(default_factory=list)
    servers: list = field(default_factory=list)
    bastion_pid: int = 0

    def start(self):
        for key in ("host", "person", "device"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.folder}/{key}")
        self.say("init")
        self.write("user_ca.pub", self.say("ca", "show", "user"))
        os.mkdir(f"{self.folder}/typescripts")
        self.write("recorded.sh", RECORDED.format(folder=self.folder), 0o755)
        target, jump, recorded = free_port(), free_port(), free_port()
        self.write("ssh_config", "".join(
            f"Host {name}\n  Port {port}\n{more}" + CLIENT.format(folder=self.folder)
            for name, port, more in [
                ("direct", target, ""), ("jump", jump, ""), ("by-jump", target, "  ProxyJump jump\n"),
                ("recorded", recorded, ""),
            ]))
        for name, port, more in [
            ("target", target, ""), ("jump", jump, ""),
            ("recorded", recorded, f"ForceCommand {self.folder}/recorded.sh\n"),
        ]:
            self.write(f"{name}.conf", SSHD.format(folder=self.folder) + f"Port {port}\n" + more)
            self.serve(name, ["/usr/sbin/sshd", "-D", "-f", f"{self.folder}/{name}.conf"])
        for name, host, group in [
            ("direct", "direct", "target"), ("sshd -J", "by-jump", "jump"), ("recorded hop", "recorded", "recorded"),
        ]:
            self.routes.append(Route(name, ["ssh", "-F", f"{self.folder}/ssh_config", host], Group(group)))
        self.bartizan(target)

    def bartizan(self, target):
        """A bastion with one operator, proven by a device key, a person's key and a code that counts for hours."""
        state = f"{self.folder}/state"
        self.write("state/bartizan.toml", '[ssh]\nlisten = ["127.0.0.1:0"]\nnames = ["bastion.bench"]\n'
                   '[device]\nevidence = "key"\n')
        os.mkdir(f"{self.folder}/bundle")
        host_key = " ".join(self.read("host.pub").split()[:2])
        self.write("bundle/bench.toml", f"""[login]
require = {{ factors = ["key", "code"] }}
fresh = "8h"
[[operator]]
name = "bench"
roles = ["bench"]
[[target]]
name = "web-1"
address = "127.0.0.1:{target}"
host_keys = ["{host_key}"]
accounts = ["root"]
default_account = "root"
[[grant]]
name = "bench"
roles = ["bench"]
targets = ["web-1"]
accounts = ["root"]
allow = ["shell", "exec", "upload", "download"]
""")
        self.say("access", "apply", f"{self.folder}/bundle")
        self.say("operator", "key", "add", "bench", f"{self.folder}/person.pub")
        self.say("device", "register", "bench-laptop", "--operator", "bench", "--key", f"{self.folder}/device.pub")
        self.write("seed", base64.b32encode(SECRET).decode().rstrip("=") + "\n")
        self.say("operator", "totp", "bench", "--secret-file", f"{self.folder}/seed")
        self.bastion_pid = self.serve("bartizan", [self.binary, "--dir", state, "serve"])
        port = wait_for(lambda: address(f"{state}/listening")).rsplit(":", 1)[1]
        client = CLIENT.format(folder=self.folder).replace(
            "  IdentityFile", f"  IdentityFile {self.folder}/device\n  IdentityFile", 1)
        named = client.replace("User root", "User bench+root+web-1").replace("publickey", "publickey,keyboard-interactive")
        self.write("bartizan_config", f"Host bartizan\n  Port {port}\n{named}"
                   f"Host outer\n  Port {port}\n{client.replace('User root', 'User bench')}"
                   f"Host web-1\n  ProxyJump outer\n{client.replace('HostName 127.0.0.1', 'HostName web-1')}")
        self.first_login()
        group = Group("bartizan")
        for name, host in [("bartizan", "bartizan"), ("bartizan -J", "web-1")]:
            self.routes.append(Route(name, ["ssh", "-F", f"{self.folder}/bartizan_config", host], group))

    def first_login(self):
        """The one that is asked for a code; the others rest on it."""
        self.write("askpass", f"#!/bin/sh\nexec echo {code()}\n", 0o700)
        environment = dict(os.environ, SSH_ASKPASS=f"{self.folder}/askpass", SSH_ASKPASS_REQUIRE="force")
        subprocess.run(["ssh", "-F", f"{self.folder}/bartizan_config", "bartizan", "true"],
                       env=environment, stdin=subprocess.DEVNULL, check=True)

    def serve(self, name, command):
        log = open(f"{self.folder}/{name}.log", "wb")
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=Group(name).join)
        self.servers.append(server)
        return server.pid

    def stop(self):
        for server in reversed(self.servers):
            server.terminate()
        for server in self.servers:
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()

    def say(self, *words):
        return run(self.binary, "--dir", f"{self.folder}/state", *words)

    def read(self, name):
        with open(f"{self.folder}/{name}") as file:
            return file.read()

    def write(self, name, text, mode=0o600):
        with open(f"{self.folder}/{name}", "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} ended with status {done.returncode}")
    return done.stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def address(path):
    """The first line of the file, once it is whole."""
    if os.path.exists(path):
        line, end, _ = open(path).read().partition("\n")
        return line if end else None


def wait_for(what, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.02)
    sys.exit("bench: the bastion does not listen; see bartizan.log")


def code():
    """RFC 6238: six digits, SHA-1, 30 seconds."""
    mac = hmac.new(SECRET, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    at = mac[-1] & 15
    return f"{(struct.unpack('>I', mac[at:at + 4])[0] & 0x7FFFFFFF) % 10**6:06}"
