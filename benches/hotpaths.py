"""Runs one hot path of `hotpaths/`, alone, or under strace or valgrind."""

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

from subjects import BIN, ROOT

# With libc's allocator, which valgrind can watch, and with the one that agent and daemon have.
PLAIN, SHIPPED = BIN / "hotpaths", BIN / "shipped"


def built(profile, name="hotpaths"):
    """Builds a benchmark's program in this profile, without the features that are optional, and returns its path."""
    command = ["cargo", "build", "--locked", "--quiet", "--profile", profile, "-p", "hotpaths", "--bin", name]
    command.append("--no-default-features")
    report = subprocess.run([*command, "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if report.returncode:
        sys.exit(f"{' '.join(command)} failed")
    for line in report.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return Path(message["executable"])
    sys.exit("cargo does not say what it has built")


def run(*command):
    """What a command prints, and what the program in front of it prints."""
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{command} failed: {ended.stdout[-1000:]}{ended.stderr[-2000:]}")
    return ended


@contextlib.contextmanager
def other_side():
    """Starts a peer that acknowledges heartbeats, outside of the traced sender. Returns its address."""
    with subprocess.Popen([PLAIN, "other_side_listens"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        # It ends with its input, which is closed at the end.
        yield process.stdout.readline().strip()


def timed(program, operation, count, place=""):
    """Milliseconds of CPU and of time, of one."""
    took = json.loads(run(program, operation, count, place).stdout)
    return took["cpu_ns"] / 1e6 / count, took["wall_ns"] / 1e6 / count


def each(read, program, operation, count, place=""):
    """Of one more, from a reading at `count` and one at twice that: what does not depend on the count cancels out."""
    once, twice = (read(program, operation, times * count, place) for times in (1, 2))
    return (twice - once) / count


def system_calls(*command):
    """Those of a command, all threads together, and all processes that it starts; but for pauses, which are the measurement's."""
    counting = ["strace", "-f", "-c", "-U", "calls,name", "-e", "trace=!clock_nanosleep"]
    return number(r"^\s*(\d+)\s+total$", run(*counting, *command))


def allocations(*command):
    """Blocks that a command takes from libc's allocator."""
    return number(r"Total:.*in ([\d,]+) blocks", run("valgrind", "--tool=dhat", "--dhat-out-file=/dev/null", *command))


def instructions(*command):
    """Instructions of a command, all threads together, by callgrind."""
    return number(r"Collected : (\d+)", run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command))


def number(pattern, ended):
    return int(re.search(pattern, ended.stderr, re.M).group(1).replace(",", ""))
