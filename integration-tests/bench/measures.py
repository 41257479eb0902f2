"""What is measured on a route: a command line in front of a remote command."""
import fcntl
import os
import statistics
import subprocess
import threading
import time

MIB = 1 << 20
F_SETPIPE_SZ = 1031


def down(route, plan, payload, mib=None):
    """MiB/s from the target; the clock runs from the first byte to the last."""
    size = (mib or plan.mib) * MIB
    client = subprocess.Popen(
        route.command + [f"head -c {size} {plan.payload(payload)}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0,
    )
    pipe = client.stdout.fileno()
    fcntl.fcntl(pipe, F_SETPIPE_SZ, MIB)
    null = os.open("/dev/null", os.O_WRONLY)
    got = len(os.read(pipe, 1))
    start = time.perf_counter()
    while moved := os.splice(pipe, null, MIB):
        got += moved
    took = time.perf_counter() - start
    os.close(null)
    if client.wait() or got != size:
        raise RuntimeError(f"{route.name}: status {client.returncode}, {got} of {size} bytes came down")
    return {"MiB/s": size / MIB / took, "per": ("s/GiB", size / 2**30)}


def up(route, plan, payload):
    """MiB/s to the target; the clock runs from its start mark to its count."""
    size = plan.mib * MIB
    with open(plan.payload(payload), "rb") as source:
        client = subprocess.Popen(
            route.command + ["echo R; wc -c"], stdin=source, stdout=subprocess.PIPE, bufsize=0
        )
        client.stdout.read(2)
        start = time.perf_counter()
        got = int(client.stdout.readline() or 0)
        took = time.perf_counter() - start
        client.stdout.read()
    if client.wait() or got != size:
        raise RuntimeError(f"{route.name}: status {client.returncode}, {got} of {size} bytes went up")
    return {"MiB/s": size / MIB / took, "per": ("s/GiB", size / 2**30)}


def echo(route, plan):
    """Microseconds for one byte there and back."""
    client = subprocess.Popen(
        route.command + ["echo R; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    there, back = client.stdin.fileno(), client.stdout.fileno()
    while not os.read(back, 65536).endswith(b"R\n"):
        pass
    times = []
    for _ in range(plan.pings + 100):
        start = time.perf_counter()
        os.write(there, b"x")
        os.read(back, 1)
        times.append((time.perf_counter() - start) * 1e6)
    client.stdin.close()
    client.wait()
    times = sorted(times[100:])
    return {"p50 us": times[len(times) // 2], "p99 us": times[len(times) * 99 // 100], "per": ("us/echo", plan.pings / 1e6)}


def one(route):
    """Milliseconds for a whole `ssh HOST true`."""
    start = time.perf_counter()
    if subprocess.call(route.command + ["true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        raise RuntimeError(f"{route.name}: no connection")
    return (time.perf_counter() - start) * 1e3


def setup(route, plan):
    """Milliseconds for a connection, one after the other."""
    times = [one(route) for _ in range(plan.connections)]
    return {"ms": statistics.median(times), "per": ("ms/conn", plan.connections / 1e3)}


def many(route, plan, payload, lanes=16):
    """MiB/s of so many downloads at once."""
    mib, done = max(16, plan.mib * 2 // lanes), []
    threads = [threading.Thread(target=lambda: done.append(down(route, plan, payload, mib))) for _ in range(lanes)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    if len(done) != lanes:
        raise RuntimeError(f"{route.name}: {lanes - len(done)} of {lanes} downloads failed")
    return {"MiB/s": lanes * mib / took, "per": ("s/GiB", lanes * mib / 1024)}


# The first figure of each is the one that ratios are formed of.
TESTS = {
    "down-zeros": lambda route, plan: down(route, plan, "zeros"),
    "up-zeros": lambda route, plan: up(route, plan, "zeros"),
    "down-random": lambda route, plan: down(route, plan, "random"),
    "up-random": lambda route, plan: up(route, plan, "random"),
    "echo": echo,
    "setup": setup,
    "many16": lambda route, plan: many(route, plan, "zeros"),
}
