"""paramiko through the bastion: a command, a shell, a file there and back, by each of the ways it is told."""
import base64
import json
import socket
import sys

import paramiko

WORK = json.loads(sys.argv[1])
HOST_KEY = base64.b64decode(WORK["host_key"].split()[1])
CODES = list(WORK["codes"])


def begun(transport):
    transport.start_client(timeout=30)
    # It knows no host certificates: everything behind the bastion has the bastion's own key.
    assert transport.get_remote_server_key().asbytes() == HOST_KEY
    return transport


def logged_in(name):
    # The usual Transport asks for the login's service before each proof, which the bastion hears once: this one asks once.
    transport = begun(paramiko.ServiceRequestingTransport(socket.create_connection(("127.0.0.1", WORK["port"]))))
    left = transport.auth_publickey(name, paramiko.Ed25519Key.from_private_key_file(WORK["key"]))
    assert "keyboard-interactive" in left, left
    assert transport.auth_interactive(name, lambda title, text, prompts: [CODES.pop(0) for _ in prompts]) == []
    return transport


def inside(sock):
    transport = begun(paramiko.Transport(sock))
    assert transport.auth_none("root") == []
    return transport


def work(transport, way, there, back):
    channel = transport.open_session()
    channel.exec_command(WORK["line"])
    out, err = channel.makefile().read().decode(), channel.makefile_stderr().read().decode()
    status = channel.recv_exit_status()
    shell = transport.open_session()
    shell.get_pty("xterm", 100, 30)
    shell.invoke_shell()
    shell.sendall(b"stty size; exit 7\n")
    shown = shell.makefile().read().decode()
    sftp = paramiko.SFTPClient.from_transport(transport)
    sftp.put(WORK["file"], there)
    sftp.get(there, back)
    try:
        sftp.stat(there + "-missing")
        missing = "there"
    except FileNotFoundError:
        missing = "refused"
    size = "30 100" if "30 100" in shown else shown
    print(json.dumps({"way": way, "out": out, "err": err, "status": status,
                      "shell": [size, shell.recv_exit_status()], "missing": missing}))


for way, (there, back) in WORK["ways"]:
    if way == "name":
        transport = logged_in("ana+root+db1")
        work(transport, way, there, back)
    elif way == "jump":
        outer = logged_in("ana")
        transport = inside(outer.open_channel("direct-tcpip", ("db1", 22), ("127.0.0.1", 0)))
        work(transport, way, there, back)
        outer.close()
    else:
        transport = inside(paramiko.ProxyCommand(WORK["proxy"]))
        work(transport, way, there, back)
    transport.close()
