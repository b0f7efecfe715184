#!/usr/bin/env python3
"""Counts the system calls that the daemon makes to look at process trees that do nothing. The result does not depend on speed.

    BENCH_BIN=target/debug benches/syscalls.py    fails if a look needs more than the reviewed number for each process

Needs strace and a daemon in BENCH_BIN, of any build. Both values are of the same run: one daemon has twice as many trees as the other, and
the difference of the calls per look is divided by the difference of the processes. So the rest of the host and of the daemon
cancels out. Each look opens `/proc` once, so the trace itself tells how many there were.
"""

import json
import re
import shutil
import signal
import subprocess
import sys

from subjects import MEMORY, Daemon, sweep

# The trees of the first daemon. The second one has twice as many.
TREES = 60
# The processes of each.
PROCESSES = 3
# The looks that are counted, one each second, and before that the looks in which the trees still start.
LOOKS, SETTLE = 20, 5
# What a process may cost at each look. One call asks for its CPU clock, and each tree has a share in the check of its agent and
# of its log. If every process is read, one file is opened for each.
MOST = {"system calls": 5.0, "opened files": 0.25}

# Nothing else opens it.
LOOK = re.compile(r'openat\(AT_FDCWD, "/proc", ')


def main():
    if not shutil.which("strace"):
        sys.exit("strace is not installed: apt-get install strace")
    try:
        few, many = calls_per_look(TREES), calls_per_look(2 * TREES)
    finally:
        sweep()
    exceeded = []
    for what, most in MOST.items():
        each = (many[what] - few[what]) / (TREES * PROCESSES)
        print(f"{what} per look: {few[what]:.0f} with {TREES} trees, {many[what]:.0f} with {2 * TREES}; ", end="")
        print(f"for each process more {each:.2f}, at most {most:.2f}")
        exceeded += [what] if each > most else []
    if exceeded:
        sys.exit(f"a look costs more than the reviewed number for each process: {', '.join(exceeded)}")


def tree(name):
    """A tree of three processes that do nothing, looked at every second."""
    return lambda _: [
        f"id: {name}",
        "binary_path: /bin/sh",
        "args: ['-c', '/bin/sleep 1000000 & /bin/sleep 1000000 & wait']",
        "health_check: { heartbeat_timeout: 0, interval: 1s, start_grace: 0s }",
    ]


def calls_per_look(count):
    with Daemon([tree(f"agent-{n}") for n in range(count)], MEMORY) as daemon:
        states = lambda: json.loads(daemon.get("/health"))["agents"]
        daemon.wait(lambda: states().get("running") == count, pause=0.2)
        trace = daemon.directory / "trace"
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", trace, "-p", str(daemon.pid)], stderr=subprocess.DEVNULL
        )
        looks = lambda: [n for n, line in enumerate(lines()) if LOOK.search(line)]
        lines = lambda: trace.read_text(errors="replace").splitlines() if trace.exists() else []
        daemon.wait(lambda: len(looks()) > SETTLE + LOOKS, pause=0.5, limit=120)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        seen = looks()[SETTLE : SETTLE + LOOKS + 1]
        between = lines()[seen[0] : seen[-1]]
        calls = [line for line in between if " resumed>" not in line]
        return {"system calls": len(calls) / LOOKS, "opened files": sum("openat(" in line for line in calls) / LOOKS}


if __name__ == "__main__":
    main()
