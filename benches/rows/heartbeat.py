"""One heartbeat over HTTP, beside curl and beside hyper with nothing around it."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import hotpaths
from report import Row, Spread, interleaved, rows_as_markdown
from subjects import Sink, installed

ROUNDS = 5
BEATS = 2000
BODY = (
    '{"agent_id":"agent-001","pid":12345,"status":"running","cpu":5.0,"memory":10240000,'
    '"timestamp":"2025-12-05T10:00:00.000Z","version":"0.1.0","state":"running","incarnation":7,"sequence":120}'
)


def measure(short):
    rounds, beats = (2, 500) if short else (ROUNDS, BEATS)
    program = hotpaths.built("release")
    curl = ["curl", "-s", "-o", "/dev/null", "-H", "content-type: application/json", "-d", BODY, Sink().url]
    kinds = {
        "ours": lambda: hotpaths.timed(program, "heartbeat_sent", beats)[0],
        "hyper": lambda: hotpaths.timed(program, "hyper_client", beats)[0],
    }
    if installed("curl"):
        kinds["curl"] = lambda: cpu_of(curl)
    used = {name: Spread(values) for name, values in interleaved(rounds, kinds).items()}
    ours = used["ours"]
    text = "; ".join(f"{name} {spread.show('ms', 3)}" for name, spread in used.items() if name != "ours")
    ratio = {}
    if "curl" in used:
        share = ours.median / used["curl"].median
        ratio = {"ratio": f"{share:.3f} × curl", "aim": "≤ 0.1 × curl", "hit": share <= 0.1}
    rows = [Row("one heartbeat: CPU of the sender", ours.show("ms", 3), text, **ratio)]
    if installed("strace"):
        rows.append(calls(program, curl))
    if installed("valgrind"):
        counts = [hotpaths.allocations(program, name, 200) for name in ("heartbeat_sent", "hyper_client")]
        rows.append(Row("the same: allocations", f"{counts[0]:.0f}", f"hyper {counts[1]:.0f}"))
    return f"### One heartbeat\n\n{rows_as_markdown(rows)}"


def cpu_of(command):
    """Milliseconds of CPU of a whole process: a start is what curl costs each time."""
    child = subprocess.Popen(command)
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    return (usage.ru_utime + usage.ru_stime) * 1e3


def calls(program, curl):
    ours, hyper = (hotpaths.system_calls(program, name, 200) for name in ("heartbeat_sent", "hyper_client"))
    beside = f"hyper {hyper:.1f}"
    if installed("curl"):
        with tempfile.NamedTemporaryFile("r") as summary:
            subprocess.run(["strace", "-f", "-c", "-U", "calls,name", "-o", summary.name, *curl], check=True)
            total = re.search(r"(\d+)\s+total", Path(summary.name).read_text())
            beside += f"; curl {total.group(1)}"
    return Row("the same: system calls", f"{ours:.1f}", beside)
