"""CPU time and memory of a group of processes, whatever they start and however they end.

A group is a cgroup, version 1 or 2, because a server's children may exit without being waited for, and then their times are
in nobody's sum. Where no cgroup can be made, figures are None and the table says "-"."""
import os
import re
import time

NAME = "bartizan-bench"
V1 = "/sys/fs/cgroup/{}/" + NAME
V2 = "/sys/fs/cgroup/" + NAME


class Group:
    """Processes that are counted together."""

    def __init__(self, name):
        self.cpu_file, self.joins = None, []
        if os.path.isdir("/sys/fs/cgroup/cpuacct"):
            folder = f"{V1.format('cpuacct')}/{name}"
            self.cpu_file = f"{folder}/cpuacct.usage"
        elif os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            folder = f"{V2}/{name}"
            self.cpu_file = f"{folder}/cpu.stat"
        else:
            return
        try:
            os.makedirs(folder, exist_ok=True)
            self.joins.append(f"{folder}/cgroup.procs")
        except OSError:
            self.cpu_file = None

    def join(self):
        """Puts the calling process into the group: for `preexec_fn`."""
        for path in self.joins:
            with open(path, "w") as file:
                file.write(str(os.getpid()))

    def cpu(self):
        """CPU seconds of all that ever ran in it."""
        if self.cpu_file is None:
            return None
        with open(self.cpu_file) as file:
            text = file.read()
        if text.strip().isdigit():
            return int(text) / 1e9
        return int(re.search(r"usage_usec (\d+)", text)[1]) / 1e6

    def settled_cpu(self):
        """CPU seconds once the last connection's processes are gone."""
        last, same = self.cpu(), 0
        for _ in range(100):
            time.sleep(0.03)
            now = self.cpu()
            if now is None:
                return None
            same = same + 1 if now - last < 0.0005 else 0
            last = now
            if same == 2:
                break
        return last


def memory(pid):
    """KiB that a process holds for itself (Pss)."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M)[1])


def busy():
    """CPU seconds of the whole machine, with what the host took away."""
    with open("/proc/stat") as file:
        fields = file.readline().split()
    return sum(int(fields[i]) for i in (1, 2, 3, 6, 7, 8)) / os.sysconf("SC_CLK_TCK")
