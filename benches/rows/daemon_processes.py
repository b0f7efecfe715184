"""What the daemon's process trees cost: one start, a thousand starts at once, and the looks at a thousand trees.

All files are in memory, unless a row says that they are on the disk: many new files on a disk cost more than the starts.
"""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

from fleet import sleeper, tree
from measure import children
from peers import Supervisord, present
from report import Row, Spread, cell, interleaved, rows_as_markdown
from subjects import MEMORY, Daemon, cpu_during

STARTS = 50
PROGRAMS = 1_000
ROUNDS = 3
# The trees have grown, and the daemon has looked at each of them.
SETTLE = 15
# Six looks.
WINDOW = 60


def measure(short):
    starts, programs, rounds, window = (10, 200, 1, 20) if short else (STARTS, PROGRAMS, ROUNDS, WINDOW)
    rows = [one_start(starts), *all_up(programs, rounds), trees(programs, window)]
    return f"### Daemon: process trees\n\n{rows_as_markdown(rows)}"


def one_start(count):
    """The start of one process, from the decision to the executed program, next to one by posix_spawn."""
    ours, plain = Spread(launched(count)), Spread([spawned() for _ in range(count)])
    more = ours.median - plain.median
    return Row(
        "one start through the launcher: decision → program executed",
        ours.show("ms"),
        f"fork and exec by Python's subprocess {plain.show('ms')}",
        f"{more:+.1f} ms",
        "≤ 3 ms more",
        more <= 3,
    )


def launched(count):
    """Milliseconds of each start, from the daemon's log. Its times are whole milliseconds."""
    with Daemon([sleeper("agent-0", "heartbeat_timeout: 0, start_grace: 0s")], MEMORY) as daemon:
        states = lambda: json.loads(daemon.get("/health"))["agents"]
        for number in range(count):
            daemon.wait(lambda: states().get("running") == 1 and len(started(daemon)) > number)
            daemon.post("/agents/agent-0/restart")
        daemon.wait(lambda: len(started(daemon)) > count)
        return started(daemon)[1:]


def started(daemon):
    durations, begun = [], None
    for line in daemon.output().splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("to") == "Starting":
            begun = at(entry)
        elif entry.get("message") == "process started" and begun is not None:
            durations.append(at(entry) - begun)
    return durations


def at(entry):
    """The time of a log line, in milliseconds within its hour."""
    minutes, seconds = entry["timestamp"][14:-1].split(":")
    return int(minutes) * 60_000 + float(seconds) * 1000


def spawned():
    before = time.monotonic()
    # It returns when the program is executed.
    process = subprocess.Popen(["/bin/sleep", "1000000"], stdin=subprocess.DEVNULL)
    took = (time.monotonic() - before) * 1e3
    process.kill()
    process.wait()
    return took


def all_up(programs, rounds):
    """Seconds until all programs run after the start of their supervisor: with all files in memory, on the disk, and in memory
    while everything shares one core."""
    what, limit = f"start of the daemon → {programs:,} programs executed", 3 * programs / PROGRAMS
    ours, others = started_all(programs, rounds, MEMORY)
    rows = [Row(what, ours.show("s", 2), cell(others, "s", 1), aim=f"≤ {limit:.1f} s", hit=ours.median <= limit)]
    if MEMORY:
        on_disk, others = started_all(programs, rounds, None)
        rows.append(Row(f"{what}, all files on the disk", on_disk.show("s", 2), cell(others, "s", 1)))
    if len(os.sched_getaffinity(0)) > 1:
        with one_core():
            alone, others = started_all(programs, rounds, MEMORY)
        ratio = f"{alone.median / ours.median:.2f} × all cores"
        rows.append(Row(f"{what}, on one core", alone.show("s", 2), cell(others, "s", 1), ratio))
    return rows


def started_all(programs, rounds, directory):
    """The seconds of the daemon, and those of its peers."""
    kinds = {"daemon": lambda: up(lambda: Daemon([sleeper(f"agent-{n}") for n in range(programs)], directory), programs)}
    for kind in present([Supervisord]):
        kinds[kind.name] = lambda kind=kind: up(lambda: kind(programs, directory), programs)
    others = {name: Spread(times) for name, times in interleaved(rounds, kinds).items()}
    return others.pop("daemon"), others


@contextlib.contextmanager
def one_core():
    """What is started meanwhile shares the first core with this program."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_cores)


def up(begin, programs):
    begun = time.monotonic()
    with begin() as supervisor:
        supervisor.wait(lambda: sleeping(supervisor.pid) == programs, pause=0.02)
        return time.monotonic() - begun


def sleeping(pid):
    """How many children of a process execute the program."""
    names = []
    for child in children(pid):
        with contextlib.suppress(OSError):
            names.append(Path(f"/proc/{child}/comm").read_text())
    return names.count("sleep\n")


def trees(count, window):
    with Daemon([tree(f"agent-{n}") for n in range(count)]) as daemon:
        states = lambda: json.loads(daemon.get("/health"))["agents"]
        daemon.wait(lambda: states().get("running") == count, pause=0.5, limit=120)
        time.sleep(SETTLE)
        share = cpu_during(daemon, window) * 100
    what = f"CPU with {count:,} trees of three processes, looked at every 10 s"
    return Row(what, f"{share:.2f} % of one core", aim="≤ 0.5 %", hit=share <= 0.5)
