"""What the daemon costs for each agent that it knows, and while nothing happens to any of them."""

import json
import time

from fleet import disabled, sleeper
from measure import memory
from report import Row, rows_as_markdown
from subjects import Daemon, cpu_during

REGISTERED = 10_000
RUNNING = 1_000
FEW = 10
# Two looks at everybody, and four at the sizes of their logs.
WINDOW = 60


def measure(short):
    registered, running, window = (2_000, 200, 10) if short else (REGISTERED, RUNNING, WINDOW)
    few = rss([disabled(f"agent-{n}") for n in range(FEW)])
    many = rss([disabled(f"agent-{n}") for n in range(registered)])
    each = (many - few) * 1e3 / (registered - FEW)
    rows = [
        Row("RSS with 10 agents that do not run", f"{few:.1f} MB"),
        Row(f"RSS with {registered:,} agents that do not run", f"{many:.1f} MB"),
        Row(
            "RSS for each registered agent",
            f"{each:.2f} KB",
            aim="≤ 2 KB",
            hit=each <= 2,
            limit="the peak while the configuration is read stays with the allocator",
        ),
    ]
    return f"### Daemon: many agents\n\n{rows_as_markdown(rows + alive(few, running, window))}"


def rss(entries):
    with Daemon(entries) as daemon:
        time.sleep(2)
        return memory(daemon.pid).rss


def alive(few, running, window):
    with Daemon([sleeper(f"agent-{n}") for n in range(running)]) as daemon:
        states = lambda: json.loads(daemon.get("/health"))["agents"]
        daemon.wait(lambda: states().get("running") == running, pause=0.5, limit=120)
        time.sleep(5)
        now = memory(daemon.pid).rss
        share = cpu_during(daemon, window) * 100
    each = (now - few) * 1e3 / running
    return [
        Row(f"RSS with {running:,} agents that run", f"{now:.1f} MB"),
        Row("RSS for each agent that runs, its process watched", f"{each:.1f} KB"),
        Row(f"CPU idle with {running:,} agents that run", f"{share:.2f} % of one core", aim="≤ 1 %", hit=share <= 1),
    ]
