"""What the kernel reports of a process while it runs and after its end."""

import contextlib
import os
import re
import time
from pathlib import Path
from typing import NamedTuple


def cpu(pid):
    """The CPU time of a process in seconds, including threads that have ended. Its clock counts nanoseconds."""
    # The clock ID as clock_getcpuclockid(3) computes it.
    return time.clock_gettime((~pid << 3) | 2)


class Memory(NamedTuple):
    rss: float
    pss: float
    written: float


def memory(pid):
    """In megabytes: resident memory, resident memory with shared pages divided among their users, and written memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    size = {name: int(kilobytes) * 1024 / 1e6 for name, kilobytes in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    return Memory(size["Rss"], size["Pss"], size["Private_Dirty"])


def reset_peak(pid):
    """Begins a new peak of resident memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid):
    """The most resident memory since the last `reset_peak`, in megabytes."""
    kilobytes = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M).group(1)
    return int(kilobytes) * 1024 / 1e6


def main_thread_cpu(pid):
    """The CPU time of the first thread of a process in seconds. It runs the loop of the daemon."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def children(pid):
    """The children of all its threads."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def switches(pid):
    """Context switches so far by thread ID. The count of a thread is lost when it ends: see `total_switches`."""
    counts = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        counts[int(task.name)] = sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", text))
    return counts


def total_switches(usage):
    """The context switches of a whole process from the result of wait4, which includes threads that have ended."""
    return usage.ru_nvcsw + usage.ru_nivcsw
