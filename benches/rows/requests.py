"""What `/health` costs under load, and what connections cost that only wait."""

import time
from contextlib import ExitStack

from load import crowd, hit
from measure import memory
from peers import Nginx, NodeExporter, present
from report import Row, Spread, against, beside, interleaved, rows_as_markdown
from subjects import Agent, installed

CONNECTIONS = (1, 16, 256)
ROUNDS = 3
SECONDS = 4
IDLE = 1000
AIM = "≤ 1.2 × nginx"

# So many connections at once from one address are more than the agent lets in by default.
ROOMY = "  limits: { connections: 2000, connections_loopback: 2000 }\n"
# What is freed goes back to the system a second later at the earliest, and at the next thing to do: for the agent, the next
# refresh. Everybody is given as long.
REFRESHED = 12
# What is back to the start: within 64 pages, a fiftieth of what such a crowd takes.
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
            kinds = {name: lambda server=server: hit(server, connections, seconds) for name, server in servers.items()}
            rows += rows_of(connections, interleaved(rounds, kinds))
    return rows


def rows_of(connections, hits):
    of = lambda field: {name: Spread([getattr(hit, field) for hit in some]) for name, some in hits.items()}
    cost, p99, rate = of("cost"), of("p99"), of("rate")
    ours = cost.pop("agent")
    nginx = lambda spreads: {name: spread for name, spread in spreads.items() if name == "nginx"}
    many = f"{connections} connection{'s' if connections > 1 else ''}"
    late = p99.pop("agent")
    return [
        Row(
            f"/health, {many}: CPU per 1,000 requests",
            ours.show("ms"),
            beside(cost, "ms"),
            **against(ours, nginx(cost), 1.2, AIM),
            limit="hyper, tide and http-types do more per request than nginx does: see where a request goes",
        ),
        Row(
            f"p99, the same; requests/s {rate['agent'].show('', 0)}",
            late.show("ms", 2),
            beside(p99, "ms", 2),
            **against(late, nginx(p99), 1.2, AIM),
            limit="each request costs more, and where there are many connections, each waits for those of all others",
        ),
    ]


def waiting(rounds):
    """Memory of connections that wait, and what is left of it when 1,000 have come and gone."""
    kinds = {"agent": lambda: Agent(ROOMY), **{kind.name: kind for kind in present([Nginx])}}
    rounds = [idle_connections(kinds) for _ in range(rounds)]
    each, left = ({name: Spread([readings[name][n] for readings in rounds]) for name in kinds} for n in (0, 1))
    ours, remains = each.pop("agent"), left.pop("agent")
    ratio = against(ours, each, 1.0, "–") | {"hit": None}
    return [
        Row("memory per idle connection", ours.show("KB"), beside(each, "KB"), **ratio),
        Row(
            f"RSS above the start, {REFRESHED} s after {IDLE:,} have come and gone: a refresh later",
            remains.show("KB", 0),
            beside(left, "KB", 0),
            aim=f"back to the start: ≤ {BACK} KB",
            hit=remains.median <= BACK,
            limit="pages in which something else has settled meanwhile",
        ),
    ]


def idle_connections(kinds):
    """For each, KB for each of many connections, and KB that are left above the start."""
    rss = lambda servers: {name: memory(server.pid).rss * 1e3 for name, server in servers.items()}
    with ExitStack() as stage:
        servers = {name: stage.enter_context(kind()) for name, kind in kinds.items()}
        # Whatever is set up at the first requests is no part of it.
        for server in servers.values():
            close(crowd(server, 10))
        time.sleep(REFRESHED)
        start = rss(servers)
        crowds = [crowd(server, IDLE) for server in servers.values()]
        full = rss(servers)
        for streams in crowds:
            close(streams)
        time.sleep(REFRESHED)
        left = rss(servers)
    return {name: ((full[name] - start[name]) / IDLE, left[name] - start[name]) for name in servers}


def close(streams):
    for stream in streams:
        stream.close()
