"""CPU time and memory of a server with all its processes, those that have ended included.

A control group of its own counts exactly, in either hierarchy, when this user may make one. Else
the process tree is walked: living processes with what they have waited for; a daemon that detached
from its parent would be missed, so such servers are run in the foreground.
"""

import contextlib
import os
import time

TICKS = os.sysconf("SC_CLK_TCK")
UNIFIED = "/sys/fs/cgroup"
OLDER = "/sys/fs/cgroup/cpuacct"


def read(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


class Account:
    """Made before the server is started; the server's first process calls enter()."""

    def __init__(self, name):
        self.folder = None
        self.root = None
        for parent in (UNIFIED, OLDER):
            marker = "cgroup.controllers" if parent == UNIFIED else "cpuacct.usage"
            if not os.path.exists(os.path.join(parent, marker)):
                continue
            folder = os.path.join(parent, f"mxring-compare-{os.getpid()}-{name}")
            try:
                os.mkdir(folder)
            except OSError:
                continue
            self.folder = folder
            break

    @property
    def exact(self):
        return self.folder is not None

    def enter(self):
        """In the child, before exec."""
        if self.folder is not None:
            with open(os.path.join(self.folder, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write(str(os.getpid()))

    def processes(self):
        if self.folder is not None:
            return [int(pid) for pid in read(os.path.join(self.folder, "cgroup.procs")).split()]
        return tree(self.root) if self.root else []

    def cpu_seconds(self):
        if self.folder is None:
            return sum(tree_cpu(pid) for pid in self.processes())
        usage = os.path.join(self.folder, "cpuacct.usage")
        if os.path.exists(usage):
            return int(read(usage)) / 1e9
        for line in read(os.path.join(self.folder, "cpu.stat")).splitlines():
            name, value = line.split()
            if name == "usage_usec":
                return int(value) / 1e6
        raise OSError("cpu.stat does not count")

    def memory_bytes(self):
        """Proportional set size: pages shared by several of its processes count once."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total

    def end(self):
        """Ends what is left in it and removes the group."""
        if self.folder is None:
            return
        for attempt in range(100):
            for pid in self.processes():
                with contextlib.suppress(OSError):
                    os.kill(pid, 15 if attempt < 50 else 9)
            try:
                os.rmdir(self.folder)
                break
            except OSError:
                time.sleep(0.05)
        self.folder = None


def parents():
    """{pid: parent} of all processes."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                found[int(entry)] = int(read(f"/proc/{entry}/stat").rpartition(")")[2].split()[1])
    return found


def tree(root):
    all_parents = parents()
    members = {root}
    grown = True
    while grown:
        more = {pid for pid, parent in all_parents.items() if parent in members} - members
        grown = bool(more)
        members |= more
    return sorted(members)


def tree_cpu(pid):
    """A process with all its threads, and the children it has waited for."""
    try:
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS
