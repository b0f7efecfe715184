"""The cost of `/health` under load, and of idle connections."""

import time
from contextlib import ExitStack

from load import load, open_connections
from measure import memory
from peers import Nginx, NodeExporter, present
from report import Row, Spread, cell, compare, interleaved, rows_as_markdown
from subjects import Agent, installed

CONNECTIONS = (1, 16, 256)
ROUNDS = 3
SECONDS = 4
IDLE = 1000
AIM = "≤ 1.2 × nginx"

# More connections from one address than the agent accepts by default.
LIMITS = "  limits: { connections: 2000, connections_loopback: 2000 }\n"
# The allocator returns freed memory to the system after a second or more, during the next work: for the agent, at the next
# refresh. The peers get the same time.
REFRESHED = 12
# The memory in KB, 64 pages, that may be left after the connections have closed.
BACK = 256


def measure(short):
    rounds, seconds = (1, 2) if short else (ROUNDS, SECONDS)
    missing = [Row("/health under load", "wrk is not installed", aim=AIM)]
    rows = under_load(rounds, seconds) if installed("wrk") else missing
    return f"### Requests\n\n{rows_as_markdown(rows + waiting(rounds))}"


def under_load(rounds, seconds):
    rows = []
    with ExitStack() as stage:
        agent = stage.enter_context(Agent())
        body = agent.get().decode()
        servers = {"agent": agent}
        for kind in present([Nginx, NodeExporter]):
            servers[kind.name] = stage.enter_context(kind(body) if kind is Nginx else kind())
        for connections in CONNECTIONS:
            kinds = {name: lambda server=server: load(server, connections, seconds) for name, server in servers.items()}
            rows += rows_of(connections, interleaved(rounds, kinds))
    return rows


def rows_of(connections, loads):
    of = lambda field: {name: Spread([getattr(one, field) for one in some]) for name, some in loads.items()}
    cost, p99, rate = of("cost"), of("p99"), of("rate")
    ours = cost.pop("agent")
    nginx = lambda spreads: {name: spread for name, spread in spreads.items() if name == "nginx"}
    many = f"{connections} connection{'s' if connections > 1 else ''}"
    late = p99.pop("agent")
    return [
        Row(
            f"/health, {many}: CPU per 1,000 requests",
            ours.show("ms"),
            cell(cost, "ms"),
            **compare(ours, nginx(cost), 1.2, AIM),
            limit="hyper, tide and http-types do more per request than nginx does: see where a request goes",
        ),
        Row(
            f"p99, the same; requests/s {rate['agent'].show('', 0)}",
            late.show("ms", 2),
            cell(p99, "ms", 2),
            **compare(late, nginx(p99), 1.2, AIM),
            limit="each request costs more, and with many connections it waits for the requests of all others",
        ),
    ]


def waiting(rounds):
    """The memory of idle connections, and what is left of it after 1,000 have closed."""
    kinds = {"agent": lambda: Agent(LIMITS), **{kind.name: kind for kind in present([Nginx])}}
    rounds = [idle_connections(kinds) for _ in range(rounds)]
    each, left = ({name: Spread([readings[name][n] for readings in rounds]) for name in kinds} for n in (0, 1))
    ours, remains = each.pop("agent"), left.pop("agent")
    ratio = compare(ours, each, 1.0, "–") | {"hit": None}
    return [
        Row("memory per idle connection", ours.show("KB"), cell(each, "KB"), **ratio),
        Row(
            f"RSS above the start, {REFRESHED} s (one refresh) after {IDLE:,} connections have closed",
            remains.show("KB", 0),
            cell(left, "KB", 0),
            aim=f"back to the start: ≤ {BACK} KB",
            hit=remains.median <= BACK,
            limit="pages in which a block is still in use",
        ),
    ]


def idle_connections(kinds):
    """For each server: KB per connection, and KB above the start after all have closed."""
    rss = lambda servers: {name: memory(server.pid).rss * 1e3 for name, server in servers.items()}
    with ExitStack() as stage:
        servers = {name: stage.enter_context(kind()) for name, kind in kinds.items()}
        # The first requests cause a setup that does not count.
        for server in servers.values():
            close(open_connections(server, 10))
        time.sleep(REFRESHED)
        start = rss(servers)
        connections = [open_connections(server, IDLE) for server in servers.values()]
        full = rss(servers)
        for streams in connections:
            close(streams)
        time.sleep(REFRESHED)
        left = rss(servers)
    return {name: ((full[name] - start[name]) / IDLE, left[name] - start[name]) for name in servers}


def close(streams):
    for stream in streams:
        stream.close()
