#!/usr/bin/env python3
"""Counts the instructions of the hot paths, and compares them with the reviewed counts. The result does not depend on speed.

    benches/instructions.py            fails if a path exceeds its reviewed count by more than 20 %
    BLESS=1 benches/instructions.py    writes the counts as the new reviewed ones

The compared value is the ratio to work that never changes. Both are counted in the same run, so another machine, compiler
or libc changes both. Both are differences between N and 2N repetitions, so that start and end cancel out.
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
# Scheduling decides how often a task is polled without progress, which changes the count by up to 8 %.
MARGIN = 0.2
REFERENCE = "reference"
# Each path with its number of repetitions, enough to exceed the noise. The setup of ten thousand agents takes a different
# number of instructions each time, because a hash map has a new random seed each time.
PATHS = {
    "health": 2000,
    "heartbeat_sent": 500,
    "heartbeat_over_http": 2000,
    "heartbeat_over_http_of_10000": 6000,
    "heartbeat_over_socket": 2000,
    "heartbeat_over_socket_of_10000": 6000,
    "status_write": 100,
    "idle_refresh": 25,
}


def main():
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed: apt-get install valgrind")
    program = hotpaths.built("instructions")
    counts = count_all(program)
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
        sys.exit(f"not reviewed: {', '.join(new)}. To write the reviewed counts: BLESS=1 make instructions")
    if better := [name for name, ratio in ratios.items() if ratio < reviewed[name] * (1 - MARGIN)]:
        print(f"more than {MARGIN:.0%} below the reviewed count: {', '.join(better)}. To write the new counts: BLESS=1 make instructions")
    worse = [name for name, ratio in ratios.items() if ratio > reviewed[name] * (1 + MARGIN)]
    if worse:
        sys.exit(f"more than {MARGIN:.0%} above the reviewed count: {', '.join(worse)}. To accept it: BLESS=1 make instructions")


def count_all(program):
    def count(item):
        name, times = item
        with tempfile.TemporaryDirectory(prefix="instructions-") as temporary:
            directory = temporary if name in ("status_write", "idle_refresh") else ""
            return name, hotpaths.each(hotpaths.instructions, program, name, times, directory)

    # Other processes do not affect the counts.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(pool.map(count, [(REFERENCE, 500), *PATHS.items()]))


if __name__ == "__main__":
    main()
