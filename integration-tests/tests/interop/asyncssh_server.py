"""asyncssh as a target: it trusts the bastion's user CA, runs commands, and takes files by sftp and scp."""
import asyncio
import json
import sys

import asyncssh

WORK = json.loads(sys.argv[1])


async def carry(source, sink):
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()


async def feed(source, sink):
    await carry(source, sink)
    sink.close()


async def run(process):
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_shell(process.command or "exec sh", stdin=pipe, stdout=pipe, stderr=pipe)
    feeding = asyncio.create_task(feed(process.stdin, program.stdin))
    await asyncio.gather(carry(program.stdout, process.stdout), carry(program.stderr, process.stderr))
    process.exit(await program.wait())
    feeding.cancel()


async def main():
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[WORK["host_key"]], process_factory=run, sftp_factory=True, allow_scp=True,
        encoding=None,
        authorized_client_keys=asyncssh.import_authorized_keys(f"cert-authority {WORK['authority']}\n"))
    print(server.get_port(), flush=True)
    await server.wait_closed()


asyncio.run(main())
