"""asyncssh through the bastion: a command, a shell, a file there and back, by each of the ways it is told."""
import asyncio
import json
import sys

import asyncssh

WORK = json.loads(sys.argv[1])
CODES = list(WORK["codes"])
KNOWN = asyncssh.import_known_hosts(f"@cert-authority bastion.test,db1 {WORK['authority']}\n")
COMMON = {"known_hosts": KNOWN, "agent_path": None, "config": None}


class Operator(asyncssh.SSHClient):
    def kbdint_auth_requested(self):
        return ""

    def kbdint_challenge_received(self, name, instructions, lang, prompts):
        return [CODES.pop(0) for _ in prompts]


def logged_in(name):
    return asyncssh.connect("127.0.0.1", WORK["port"], username=name, client_keys=[WORK["key"]],
                            client_factory=Operator, host_key_alias="bastion.test", **COMMON)


async def work(connection, way, there, back):
    ran = await connection.run(WORK["line"])
    shell = await connection.create_process(term_type="xterm", term_size=(100, 30))
    shell.stdin.write("stty size; exit 7\n")
    shown = await shell.stdout.read()
    ended = await shell.wait()
    await asyncssh.scp(WORK["file"], (connection, there))
    async with connection.start_sftp_client() as sftp:
        await sftp.get(there, back)
        missing = "there" if await sftp.exists(there + "-missing") else "refused"
    size = "30 100" if "30 100" in shown else shown
    print(json.dumps({"way": way, "out": ran.stdout, "err": ran.stderr, "status": ran.exit_status,
                      "shell": [size, ended.exit_status], "missing": missing}))


async def main():
    for way, (there, back) in WORK["ways"]:
        if way == "name":
            async with logged_in("ana+root+db1") as connection:
                await work(connection, way, there, back)
        elif way == "jump":
            async with logged_in("ana") as outer:
                async with asyncssh.connect("db1", username="root", tunnel=outer, client_keys=None, **COMMON) as inner:
                    await work(inner, way, there, back)
        else:
            async with asyncssh.connect("db1", username="root", proxy_command=WORK["proxy"], client_keys=None,
                                        **COMMON) as inner:
                await work(inner, way, there, back)


asyncio.run(main())
