"""How long the daemon takes to notice what happened to an agent, and to adopt the agents of an earlier daemon."""

import json
import os
import signal
import time
from functools import partial

from detection import HTTP_INTERVAL, Endpoint, noticed, noticed_by_supervisord
from fleet import INTERVAL, MAX_AGE, agent, asked, sleeper
from peers import Supervisord, present
from report import Row, Spread, rows_as_markdown
from subjects import MEMORY, TIMEOUT, Daemon

DEATHS = 10
TRIALS = 100
ADOPTED, MANY_ADOPTED = 50, 1_000
# As many failures in a row make a check bad, by default.
HTTP_FAILURES = 3
# In milliseconds: the start of a process, without any wait of the daemon.
AT_ONCE = 10


def measure(short):
    count, trials, few, many = (3, 5, 10, 100) if short else (DEATHS, TRIALS, ADOPTED, MANY_ADOPTED)
    rows = deaths(count) + [death(trials), hang(trials), error(trials), adoption(agent, few, "agents", signal.SIGKILL)]
    rows += [adoption(sleeper, many, "programs (`sleep`)", how) for how in (signal.SIGKILL, signal.SIGTERM)]
    return f"### Daemon: detection and adoption\n\n{rows_as_markdown(rows)}"


def agents(daemon):
    return {agent["agent_id"]: agent for agent in json.loads(daemon.get("/agents"))["agents"]}


def wait(daemon, condition):
    """Polls the daemon, so the measured time includes a few milliseconds of polling, and with many agents some more."""
    daemon.wait(lambda: condition(agents(daemon)), pause=0.002 * max(1, len(daemon.entries) / 50))
    return agents(daemon)


def all_running(daemon):
    return wait(daemon, lambda agents: all(agent["state"] == "running" for agent in agents.values()))


def deaths(count):
    times = []
    for _ in range(count):
        with Daemon([agent("agent-0")]) as daemon:
            pid = all_running(daemon)["agent-0"]["pid"]
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            wait(daemon, lambda agents: agents["agent-0"]["pid"] not in (None, pid))
            times.append((time.monotonic() - killed) * 1000)
    took = Spread(times)
    return [
        Row("death of an agent to its new process", took.show("ms", 0), aim=f"at once: ≤ {AT_ONCE} ms", hit=took.median <= AT_ONCE)
    ]


def kill(daemon, name, how=signal.SIGKILL):
    os.kill(daemon.pids[name], how)


def death(trials):
    delays = {"daemon": noticed(sleeper, trials, kill, lambda line: line["message"] == "process ended", MEMORY)}
    for _ in present([Supervisord]):
        delays["supervisord"] = noticed_by_supervisord(trials, MEMORY)
    ours = delays.pop("daemon")
    return Row(
        f"SIGKILL of a process to its notice, {trials} times",
        ours.show_tail("ms", 0),
        "; ".join(f"{name} {spread.show_tail('ms', 0)}" for name, spread in delays.items()) or "none is installed",
        aim=f"at once: p99 ≤ {AT_ONCE} ms",
        hit=ours.percentile(99) <= AT_ONCE,
    )


def verdict(line):
    return line["message"] == "state changed" and line["to"] == "Unhealthy"


def hang(trials):
    seen = noticed(agent, trials, partial(kill, how=signal.SIGSTOP), verdict, MEMORY)
    settings = f"`state_max_age: {MAX_AGE:.0f}s` and `interval: {INTERVAL:.0f}s`"
    return against_bound(f"SIGSTOP to the verdict, {trials} times, with {settings}", seen, MAX_AGE + INTERVAL)


def error(trials):
    with Endpoint() as endpoint:
        seen = noticed(
            lambda name: asked(name, endpoint.port), trials, lambda _, name: endpoint.breaks(name), verdict, MEMORY
        )
    settings = f"`http_failures: {HTTP_FAILURES}` and `interval: {HTTP_INTERVAL:.0f}s`"
    return against_bound(f"500 instead of 200 to the verdict, {trials} times, with {settings}", seen, HTTP_FAILURES * HTTP_INTERVAL)


def against_bound(what, milliseconds, bound):
    seconds = Spread([delay / 1e3 for delay in milliseconds.values])
    return Row(what, seconds.show_tail("s", 2), aim=f"p99 ≤ {bound:.0f} s", hit=seconds.percentile(99) <= bound)


def adoption(kind, count, what, how):
    """From the signal that ends a daemon until the next one has adopted all."""
    with Daemon([kind(f"agent-{n}") for n in range(count)]) as daemon:
        before = {name: agent["pid"] for name, agent in all_running(daemon).items()}
        started = time.monotonic()
        daemon.process.send_signal(how)
        daemon.process.wait(TIMEOUT)
        daemon.launch()
        after = wait(daemon, lambda agents: all(agent["pid"] for agent in agents.values()))
        took = (time.monotonic() - started) * 1000
        same = sum(after[name]["pid"] == pid for name, pid in before.items())
        all_running(daemon)
    what = f"{signal.Signals(how).name} to the daemon, restart, adoption of {count:,} {what}"
    return Row(what, f"{took:.0f} ms, {same:,} with the same pid", aim="≤ 2 s", hit=took <= 2000 and same == count)
