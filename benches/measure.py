"""What the kernel says of a process while it runs, and of one that has ended."""

import os
import re
import time
from pathlib import Path
from typing import NamedTuple


def cpu(pid):
    """Seconds of CPU that a process has used, threads that have ended included: its own clock, in nanoseconds."""
    # How clock_getcpuclockid(3) makes the number.
    return time.clock_gettime((~pid << 3) | 2)


class Memory(NamedTuple):
    rss: float
    pss: float
    own: float


def memory(pid):
    """Megabytes: resident, the same with shared pages divided among those who share them, and written to."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    size = {name: int(kilobytes) * 1024 / 1e6 for name, kilobytes in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    return Memory(size["Rss"], size["Pss"], size["Private_Dirty"])


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def switches(pid):
    """Context switches so far by thread id. A thread that ends takes its count along: see `total_switches`."""
    counts = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        counts[int(task.name)] = sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", text))
    return counts


def total_switches(usage):
    """Of a whole life, from what wait4 gives: the kernel's account outlives threads."""
    return usage.ru_nvcsw + usage.ru_nivcsw
