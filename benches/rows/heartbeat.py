"""Sending one heartbeat over HTTP, next to curl and to hyper alone."""

import os
import subprocess

import hotpaths
from report import Row, Spread, interleaved, rows_as_markdown
from subjects import installed

ROUNDS = 5
HEARTBEATS = 2000
BODY = (
    '{"agent_id":"agent-001","pid":12345,"status":"running","cpu":5.0,"memory":10240000,'
    '"timestamp":"2025-12-05T10:00:00.000Z","version":"0.1.0","state":"running","incarnation":7,"sequence":120}'
)
OPERATIONS = {"ours": "heartbeat_sent", "hyper": "hyper_client"}


def measure(short):
    rounds, heartbeats = (2, 500) if short else (ROUNDS, HEARTBEATS)
    with hotpaths.peer() as url:
        rows = [cost(url, rounds, heartbeats)]
        if installed("strace"):
            rows.append(row("the same: system calls", counts(hotpaths.system_calls, hotpaths.SHIPPED, url), "", 1))
        if installed("valgrind"):
            rows.append(row("the same: allocations", counts(hotpaths.allocations, hotpaths.PLAIN, url), "", 0))
    return f"### Sending one heartbeat\n\n{rows_as_markdown(rows)}"


def cost(url, rounds, heartbeats):
    kinds = {
        name: lambda operation=operation: hotpaths.timed(hotpaths.SHIPPED, operation, heartbeats, url)[0]
        for name, operation in OPERATIONS.items()
    }
    if installed("curl"):
        kinds["curl"] = lambda: cpu_of(curl(url))
    used = {name: Spread(values) for name, values in interleaved(rounds, kinds).items()}
    return row("sending one heartbeat: CPU of the sender", used, "ms", 3)


def row(what, readings, unit, digits):
    ours = readings["ours"]
    others = "; ".join(f"{name} {spread.show(unit, digits)}" for name, spread in readings.items() if name != "ours")
    compared = {"aim": "≤ 0.1 × curl"}
    if "curl" in readings:
        share = ours.median / readings["curl"].median
        compared |= {"ratio": f"{share:.3f} × curl", "hit": share <= 0.1}
    return Row(what, ours.show(unit, digits), others, **compared)


def curl(url):
    return ["curl", "-sS", "--fail", "--noproxy", "*", "-o", "/dev/null", "-H", "content-type: application/json", "-d", BODY, url]


def cpu_of(command):
    """Milliseconds of CPU of a whole process, because curl starts anew for each heartbeat."""
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} ended with {child.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1e3


def counts(read, program, url):
    """The counts of one heartbeat. For curl, they include its start and end."""
    counts = {name: hotpaths.each(read, program, operation, 200, url) for name, operation in OPERATIONS.items()}
    if installed("curl"):
        counts["curl"] = read(*curl(url))
    return {name: Spread([count]) for name, count in counts.items()}
