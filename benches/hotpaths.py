"""Runs one hot path of `hotpaths/main.rs`, watched by nobody, by strace or by valgrind."""

import json
import re
import subprocess
import sys
from pathlib import Path

from subjects import ROOT


def built(profile, name="hotpaths"):
    """Builds a benchmark's program in this profile, and returns its path."""
    command = ["cargo", "build", "--locked", "--quiet", "--profile", profile, "-p", "hotpaths", "--bin", name]
    report = subprocess.run([*command, "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if report.returncode:
        sys.exit(f"{' '.join(command)} failed")
    for line in report.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return Path(message["executable"])
    sys.exit("cargo does not say what it has built")


def run(program, operation, count, place="", before=()):
    """What the program prints, and what whoever stands before it says."""
    command = [*before, program, operation, str(count), str(place)]
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{operation} failed: {ended.stdout[-1000:]}{ended.stderr[-2000:]}")
    return ended


def timed(program, operation, count, place=""):
    """Milliseconds of CPU and of time, of one."""
    took = json.loads(run(program, operation, count, place).stdout)
    return took["cpu_ns"] / 1e6 / count, took["wall_ns"] / 1e6 / count


def each(read, count):
    """Of one more, from a reading at `count` and one at twice that: what does not depend on the count cancels out."""
    return (read(2 * count) - read(count)) / count


def system_calls(program, operation, count, place=""):
    """System calls of one, all threads together."""

    def total(count):
        traced = run(program, operation, count, place, ["strace", "-f", "-c", "-U", "calls,name"])
        return int(re.search(r"^\s*(\d+)\s+total$", traced.stderr, re.M).group(1))

    return each(total, count)


def allocations(program, operation, count, place=""):
    """Blocks that one takes from the allocator."""

    def total(count):
        watched = run(program, operation, count, place, ["valgrind", "--tool=dhat", "--dhat-out-file=/dev/null"])
        return int(re.search(r"Total:.*in ([\d,]+) blocks", watched.stderr).group(1).replace(",", ""))

    return each(total, count)


def instructions(program, operation, count, place=""):
    """Instructions of one, all threads together, by callgrind."""

    def total(count):
        watched = run(program, operation, count, place, ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"])
        return int(re.search(r"Collected : (\d+)", watched.stderr).group(1))

    return each(total, count)
