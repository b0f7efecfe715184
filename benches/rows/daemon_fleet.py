"""What each agent costs the daemon, and what the daemon costs while no agent changes."""

import json
import time
from contextlib import ExitStack

from fleet import disabled, sleeper
from measure import memory
from report import Row, Spread, rows_as_markdown
from subjects import Daemon, cpu_during

REGISTERED = 10_000
RUNNING = 1_000
FEW = 10
ROUNDS = 3
SETTLE = 5
# It includes one check of each agent, and two checks of the log sizes. The allocator returns freed memory to the system
# during the next work, so memory is measured at the end of the window.
WINDOW = 40


def measure(short):
    registered, running, rounds, window = (2_000, 200, 1, 10) if short else (REGISTERED, RUNNING, ROUNDS, WINDOW)
    few, many, busy, share = map(Spread, zip(*(side_by_side(registered, running, window) for _ in range(rounds))))
    more = lambda spread, count: Spread([(rss - few.median) * 1e3 / count for rss in spread.values])
    each, lasted = more(many, registered - FEW), f"{SETTLE + window} s after the start"
    each_running = more(busy, running)
    sleeping = f"{running:,} running agents (`sleep`, only the process check)"
    rows = [
        Row(f"RSS with {FEW} registered agents, none running, {lasted}", few.show("MB")),
        Row(f"RSS with {registered:,} registered agents, none running, {lasted}", many.show("MB")),
        Row(
            "RSS for each registered agent",
            each.show("KB", 2),
            aim="≤ 2 KB",
            hit=each.median <= 2,
            limit="the allocator keeps some of the memory in which the configuration was read",
        ),
        Row(f"RSS with {sleeping}, {lasted}", busy.show("MB")),
        Row("RSS for each of them", each_running.show("KB"), aim="≤ 12 KB", hit=each_running.median <= 12),
        Row(f"CPU idle with {sleeping}", f"{share.show('%', 2)} of one core", aim="≤ 1 %", hit=share.median <= 1),
    ]
    return f"### Daemon: many agents\n\n{rows_as_markdown(rows)}"


def side_by_side(registered, running, window):
    """RSS of daemons with few agents, with many, and with many running agents, and the CPU time of the last in percent."""
    with ExitStack() as stage:
        begin = lambda agent, count: stage.enter_context(Daemon([agent(f"agent-{n}") for n in range(count)]))
        few, many, busy = begin(disabled, FEW), begin(disabled, registered), begin(sleeper, running)
        states = lambda: json.loads(busy.get("/health"))["agents"]
        busy.wait(lambda: states().get("running") == running, pause=0.5, limit=120)
        time.sleep(SETTLE)
        share = cpu_during(busy, window) * 100
        return *(memory(daemon.pid).rss for daemon in (few, many, busy)), share
