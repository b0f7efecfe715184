"""What a heartbeat costs the daemon, with few agents and with many, beside nginx answering the same requests."""

import json
import subprocess

import hotpaths
from fleet import disabled, sleeper
from measure import cpu
from peers import Nginx
from report import Row, Spread, against, beside, interleaved, rows_as_markdown
from subjects import Daemon, installed

REGISTERED = (1, 100, 10_000)
# Of those that are registered, so many run and beat; the others are there and do not run.
RUNNING = 100
ROUNDS = 3
SECONDS = 3
CONNECTIONS = 64


def measure(short):
    rounds, seconds = (1, 1) if short else (ROUNDS, SECONDS)
    program = hotpaths.built("release", name="heartbeats")
    load = lambda server, place, bodies: lambda: beats(program, server, place, bodies, seconds)
    servers, kinds = [], {}
    for registered in REGISTERED:
        daemon = Daemon([entry(n) for n in range(registered)])
        servers.append(daemon)
        bodies = bodies_of(daemon, min(registered, RUNNING))
        kinds["HTTP", registered] = load(daemon, f"127.0.0.1:{daemon.port}", bodies)
        kinds["socket", registered] = load(daemon, str(daemon.socket), bodies)
    if installed("nginx"):
        # It answers a body that it does not look at.
        servers.append(Nginx('{"message":"heartbeat received"}'))
        kinds["nginx", 0] = load(servers[-1], f"127.0.0.1:{servers[-1].port}", bodies)
    readings = interleaved(rounds, kinds)
    for server in servers:
        server.stop()
    return f"### Daemon: heartbeats\n\n{rows_as_markdown(rows_of(readings))}"


def entry(n):
    if n < RUNNING:
        return sleeper(f"agent-{n}", "heartbeat_timeout: 600s, cpu_threshold: 0, memory_threshold: 0")
    return disabled(f"agent-{n}")


def bodies_of(daemon, running):
    """A heartbeat of each agent that runs."""
    started = lambda: [a for a in json.loads(daemon.get("/agents"))["agents"] if a["pid"]]
    daemon.wait(lambda: len(started()) == running, pause=0.2)
    body = lambda agent: {
        "agent_id": agent["agent_id"],
        "pid": agent["pid"],
        "status": "running",
        "cpu": 5.0,
        "memory": 10240000,
        "timestamp": "2025-12-05T10:00:00.000Z",
        "version": "0.1.0",
        "state": "running",
        "incarnation": 7,
        "sequence": 120,
    }
    return "\n".join(json.dumps(body(agent), separators=(",", ":")) for agent in started()) + "\n"


def beats(program, server, place, bodies, seconds):
    """Heartbeats a second, and milliseconds of the server's CPU per 1,000."""
    before = cpu(server.pid)
    command = [program, place, str(seconds), str(CONNECTIONS)]
    said = subprocess.run(command, input=bodies, capture_output=True, text=True, check=True).stdout
    used = cpu(server.pid) - before
    said = json.loads(said)
    if said["good"] != said["answered"]:
        raise SystemExit(f"{server.name} refused {said['answered'] - said['good']} of {said['answered']} heartbeats")
    return said["answered"] / said["seconds"], used * 1e6 / said["answered"]


def rows_of(readings):
    rate, cost = ({key: Spread([reading[n] for reading in some]) for key, some in readings.items()} for n in (0, 1))
    nginx = {"nginx": cost["nginx", 0]} if ("nginx", 0) in cost else {}
    rows = []
    for way in ("HTTP", "socket"):
        for registered in REGISTERED:
            ours = cost[way, registered]
            what = f"{way}, {registered:,} registered: CPU per 1,000 heartbeats"
            here = f"{ours.show('ms')}, {rate[way, registered].median:,.0f}/s"
            rows.append(Row(what, here, beside(nginx, "ms"), **against(ours, nginx, 2, "≤ 2 × nginx")))
        few, many = cost[way, REGISTERED[0]].median, cost[way, REGISTERED[-1]].median
        growth = many / few
        what = f"{way}: {REGISTERED[-1]:,} registered beside {REGISTERED[0]}"
        rows.append(Row(what, f"{growth:.2f} ×", aim="does not grow", hit=growth <= 1.25))
    return rows
