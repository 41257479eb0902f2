"""asyncssh as a target: it trusts the bastion's user CA, runs commands, and takes files by sftp and scp."""
import asyncio
import json
import sys

import asyncssh

WORK = json.loads(sys.argv[1])


async def run(process):
    program = await asyncio.create_subprocess_shell(
        process.command or "exec sh", stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    await process.redirect(stdin=program.stdin, stdout=program.stdout, stderr=program.stderr)
    status = await program.wait()
    await process.stdout.drain()
    process.exit(status)


async def main():
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[WORK["host_key"]], process_factory=run, sftp_factory=True, allow_scp=True,
        encoding=None,
        authorized_client_keys=asyncssh.import_authorized_keys(f"cert-authority {WORK['authority']}\n"))
    print(server.get_port(), flush=True)
    await server.wait_closed()


asyncio.run(main())
