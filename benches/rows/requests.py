"""What `/health` costs under load, and what connections cost that only wait."""

import time

from load import crowd, hit
from measure import memory
from peers import Nginx, NodeExporter, present
from report import Row, Spread, against, beside, interleaved, rows_as_markdown
from subjects import Agent, installed

CONNECTIONS = (1, 16, 256)
ROUNDS = 3
SECONDS = 4
IDLE = 1000

# So many connections at once from one address are more than the agent lets in by default.
ROOMY = "  limits: { connections: 2000, connections_loopback: 2000 }\n"


def measure(short):
    rounds, seconds = (1, 2) if short else (ROUNDS, SECONDS)
    rows = under_load(rounds, seconds) if installed("wrk") else [Row("/health under load", "wrk is not installed")]
    return f"### Requests\n\n{rows_as_markdown(rows + waiting(rounds))}"


def under_load(rounds, seconds):
    agent = Agent()
    body = agent.get().decode()
    servers = {"agent": agent}
    for kind in present([Nginx, NodeExporter]):
        servers[kind.name] = kind(body) if kind is Nginx else kind()
    rows = []
    for connections in CONNECTIONS:
        kinds = {name: lambda server=server: hit(server, connections, seconds) for name, server in servers.items()}
        hits = interleaved(rounds, kinds)
        rows += rows_of(connections, hits)
    for server in servers.values():
        server.stop()
    return rows


def rows_of(connections, hits):
    of = lambda field: {name: Spread([getattr(hit, field) for hit in some]) for name, some in hits.items()}
    cost, p99, rate = of("cost"), of("p99"), of("rate")
    ours = cost.pop("agent")
    nginx = {name: spread for name, spread in cost.items() if name == "nginx"}
    many = f"{connections} connection{'s' if connections > 1 else ''}"
    late = p99.pop("agent")
    return [
        Row(
            f"/health, {many}: CPU per 1,000 requests",
            ours.show("ms"),
            beside(cost, "ms"),
            **against(ours, nginx, 1.2, "≤ 1.2 × nginx"),
            limit="hyper, tide and http-types do more per request than nginx does: see where a request goes",
        ),
        Row(f"p99, the same; requests/s {rate['agent'].show('', 0)}", late.show("ms", 2), beside(p99, "ms", 2)),
    ]


def waiting(rounds):
    """Memory of connections that wait, and what is left of it when 1,000 have come and gone."""
    kinds = {"agent": lambda: idle_connections(Agent(ROOMY))}
    if installed("nginx"):
        kinds["nginx"] = lambda: idle_connections(Nginx())
    readings = interleaved(rounds, kinds)
    each, left = ({name: Spread([reading[n] for reading in some]) for name, some in readings.items()} for n in (0, 1))
    ours, remains = each.pop("agent"), left.pop("agent")
    return [
        Row("memory per idle connection", ours.show("KB"), beside(each, "KB"), **against(ours, each, 1.0, "–") | {"hit": None}),
        Row(
            f"RSS after {IDLE:,} have come and gone, above the start",
            remains.show("KB", 0),
            beside(left, "KB", 0),
            aim="back to the start",
            hit=remains.median <= 256,
            limit="the allocator keeps what it has been given",
        ),
    ]


def idle_connections(server):
    """KB for each of many connections, and KB that are left above the start."""
    with server:
        # Whatever is set up at the first request is no part of it.
        for stream in crowd(server, 10):
            stream.close()
        time.sleep(0.5)
        start = memory(server.pid).rss
        streams = crowd(server, IDLE)
        full = memory(server.pid).rss
        for stream in streams:
            stream.close()
        time.sleep(1)
        return (full - start) * 1e3 / IDLE, (memory(server.pid).rss - start) * 1e3
