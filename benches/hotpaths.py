"""Runs one hot path of `hotpaths/`, directly or under strace or valgrind."""

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

from subjects import BIN, ROOT

# With libc's allocator, which valgrind can observe, and with the allocator of the agent and the daemon.
PLAIN, SHIPPED = BIN / "hotpaths", BIN / "shipped"


def built(profile, name="hotpaths"):
    """Builds a benchmark program in this profile, without optional features, and returns its path."""
    command = ["cargo", "build", "--locked", "--quiet", "--profile", profile, "-p", "hotpaths", "--bin", name]
    command.append("--no-default-features")
    report = subprocess.run([*command, "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if report.returncode:
        sys.exit(f"{' '.join(command)} failed")
    for line in report.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return Path(message["executable"])
    sys.exit("cargo does not report what it has built")


def run(*command):
    """Runs a command, and returns its output and that of the tool that runs it."""
    completed = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if completed.returncode:
        sys.exit(f"{command} failed: {completed.stdout[-1000:]}{completed.stderr[-2000:]}")
    return completed


@contextlib.contextmanager
def peer():
    """Starts a peer that acknowledges heartbeats, outside of the traced sender. Yields its address."""
    with subprocess.Popen([PLAIN, "peer_listens"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        # It ends when its standard input is closed.
        yield process.stdout.readline().strip()


def timed(program, operation, count, target=""):
    """CPU time and duration of one repetition, in milliseconds."""
    took = json.loads(run(program, operation, count, target).stdout)
    return took["cpu_ns"] / 1e6 / count, took["wall_ns"] / 1e6 / count


def each(read, program, operation, count, target=""):
    """The value of one repetition: the difference between `count` and twice as many, so that setup and cleanup cancel out."""
    once, twice = (read(program, operation, times * count, target) for times in (1, 2))
    return (twice - once) / count


def system_calls(*command):
    """The system calls of a command, in all its threads and child processes, except the pauses of the measurement."""
    strace = ["strace", "-f", "-c", "-U", "calls,name", "-e", "trace=!clock_nanosleep"]
    return number(r"^\s*(\d+)\s+total$", run(*strace, *command))


def allocations(*command):
    """The blocks that a command allocates with libc's allocator."""
    return number(r"Total:.*in ([\d,]+) blocks", run("valgrind", "--tool=dhat", "--dhat-out-file=/dev/null", *command))


def instructions(*command):
    """The instructions of a command in all threads, counted by callgrind."""
    return number(r"Collected : (\d+)", run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command))


def number(pattern, completed):
    return int(re.search(pattern, completed.stderr, re.M).group(1).replace(",", ""))
