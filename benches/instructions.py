#!/usr/bin/env python3
"""Counts the instructions of the hot paths, and compares them with the last reviewed counts. For CI: speed does not matter.

    benches/instructions.py            fails if a path needs more than it may; BLESS=1 writes the counts down as the new ones

What is compared is a ratio to work that never changes, counted in the same run with the same compiler and libraries, so
that another machine, a new compiler or another libc shifts both. Both are differences between N and 2N repetitions, so
that starting up and shutting down cancel out.
"""

import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hotpaths

BASELINE = Path(__file__).resolve().parent / "instructions.json"
# Scheduling decides how often a task is polled in vain, which is up to 8 % of the count either way.
MARGIN = 0.2
REFERENCE = "reference"
# Each with how often it is repeated: enough for the difference to stand out. Setting up ten thousand agents takes a
# different number of instructions each time, since a hash map hashes differently each time.
PATHS = {
    "health": 2000,
    "heartbeat_sent": 500,
    "heartbeat_over_http": 2000,
    "heartbeat_over_http_of_10000": 6000,
    "heartbeat_over_socket": 2000,
    "heartbeat_over_socket_of_10000": 6000,
    "status_write": 100,
    "idle_turn": 25,
}


def main():
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed: apt-get install valgrind")
    program = hotpaths.built("instructions")
    counts = counted(program)
    reference = counts.pop(REFERENCE)
    ratios = {name: round(count / reference, 3) for name, count in counts.items()}
    if os.environ.get("BLESS"):
        BASELINE.write_text(json.dumps(ratios, indent=2) + "\n")
    reviewed = json.loads(BASELINE.read_text())
    print(f"{'path':<32}{'instructions':>14}{'ratio':>9}{'reviewed':>10}{'':>8}")
    print(f"{REFERENCE:<32}{reference:>14,.0f}{1:>9.2f}")
    for name, ratio in ratios.items():
        known = f"{reviewed[name]:>10.2f}{ratio / reviewed[name] - 1:>+8.1%}" if name in reviewed else f"{'none':>10}"
        print(f"{name:<32}{counts[name]:>14,.0f}{ratio:>9.2f}{known}")
    if new := [name for name in ratios if name not in reviewed]:
        sys.exit(f"not reviewed: {', '.join(new)}. To write the counts down: BLESS=1 make instructions")
    if better := [name for name, ratio in ratios.items() if ratio < reviewed[name] * (1 - MARGIN)]:
        print(f"more than {MARGIN:.0%} under what was reviewed: {', '.join(better)}. To keep it so: BLESS=1 make instructions")
    worse = [name for name, ratio in ratios.items() if ratio > reviewed[name] * (1 + MARGIN)]
    if worse:
        sys.exit(f"more than {MARGIN:.0%} over what was reviewed: {', '.join(worse)}. If it has to be so: BLESS=1 make instructions")


def counted(program):
    def count(item):
        name, times = item
        with tempfile.TemporaryDirectory(prefix="instructions-") as place:
            directory = place if name in ("status_write", "idle_turn") else ""
            return name, hotpaths.each(hotpaths.instructions, program, name, times, directory)

    # Counts do not depend on what else runs.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(pool.map(count, [(REFERENCE, 500), *PATHS.items()]))


if __name__ == "__main__":
    main()
