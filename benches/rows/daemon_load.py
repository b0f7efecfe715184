"""What a heartbeat costs the daemon, with few agents and with many, next to nginx with the same requests."""

import json
import subprocess
from contextlib import ExitStack

from fleet import disabled, sleeper
from measure import cpu
from peers import Nginx
from report import Row, Spread, cell, compare, interleaved, rows_as_markdown
from subjects import BIN, Daemon, installed

REGISTERED = (1, 100, 10_000)
# So many of the registered agents run and send; the others do not run.
RUNNING = 100
ROUNDS = 3
SECONDS = 3
CONNECTIONS = 64
# The largest ratio that does not count as growth. Rounds of the same load differ by less.
GROWTH = 1.25


def measure(short):
    rounds, seconds = (1, 1) if short else (ROUNDS, SECONDS)
    load = lambda server, target, bodies: lambda: heartbeats(server, target, bodies, seconds)
    kinds = {}
    with ExitStack() as stage:
        for registered in REGISTERED:
            daemon = stage.enter_context(Daemon([entry(n) for n in range(registered)]))
            bodies = bodies_of(daemon, min(registered, RUNNING))
            kinds["HTTP", registered] = load(daemon, f"127.0.0.1:{daemon.port}", bodies)
            kinds["socket", registered] = load(daemon, str(daemon.socket), bodies)
        if installed("nginx"):
            # It does not parse the body.
            nginx = stage.enter_context(Nginx('{"message":"heartbeat received"}'))
            kinds["nginx", 0] = load(nginx, f"127.0.0.1:{nginx.port}", bodies)
        readings = interleaved(rounds, kinds)
    return f"### Daemon: heartbeats\n\n{rows_as_markdown(rows_of(readings))}"


def entry(n):
    if n < RUNNING:
        return sleeper(f"agent-{n}", "heartbeat_timeout: 600s, cpu_threshold: 0, memory_threshold: 0")
    return disabled(f"agent-{n}")


def bodies_of(daemon, running):
    """A heartbeat of each running agent."""
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


def heartbeats(server, target, bodies, seconds):
    """Heartbeats per second, and milliseconds of the server's CPU per 1,000 heartbeats."""
    before = cpu(server.pid)
    command = [BIN / "heartbeats", target, str(seconds), str(CONNECTIONS)]
    output = subprocess.run(command, input=bodies, capture_output=True, text=True, check=True).stdout
    used = cpu(server.pid) - before
    result = json.loads(output)
    if result["good"] != result["answered"]:
        raise SystemExit(f"{server.name} refused {result['answered'] - result['good']} of {result['answered']} heartbeats")
    return result["answered"] / result["seconds"], used * 1e6 / result["answered"]


def rows_of(readings):
    rate, cost = ({key: Spread([reading[n] for reading in some]) for key, some in readings.items()} for n in (0, 1))
    nginx = {"nginx": cost["nginx", 0]} if ("nginx", 0) in cost else {}
    rows = []
    for way in ("HTTP", "socket"):
        for registered in REGISTERED:
            ours, answered = cost[way, registered], rate[way, registered]
            running = f", {RUNNING} of them running and sending" if registered > RUNNING else ""
            what = f"{way}, {registered:,} registered{running}: CPU per 1,000 heartbeats"
            here = f"{ours.show('ms')}; {answered.show('/s', 0)}"
            rows.append(Row(what, here, cell(nginx, "ms"), **compare(ours, nginx, 2, "≤ 2 × nginx")))
        # Both values are of the same round, so a disturbance affects both.
        few, many = ([used for _, used in readings[way, registered]] for registered in (REGISTERED[0], REGISTERED[-1]))
        growth = Spread([more / less for less, more in zip(few, many)])
        what = f"{way}: {REGISTERED[-1]:,} registered, relative to {REGISTERED[0]}"
        aim = f"does not grow: ≤ {GROWTH} ×"
        rows.append(Row(what, growth.show("×", 2), aim=aim, hit=growth.median <= GROWTH))
    return rows
