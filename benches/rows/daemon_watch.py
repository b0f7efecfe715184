"""How long the daemon takes to notice what happened to an agent, and to adopt the agents of an earlier daemon."""

import json
import os
import signal
import time

from fleet import INTERVAL, MAX_AGE, agent
from report import Row, Spread, rows_as_markdown
from subjects import Daemon

DEATHS = 10
ADOPTED = 50
# In milliseconds: the start of a process, without any wait of the daemon.
AT_ONCE = 10


def measure(short):
    rows = deaths(3 if short else DEATHS) + hang() + adoption(10 if short else ADOPTED)
    return f"### Daemon: detection and adoption\n\n{rows_as_markdown(rows)}"


def agents(daemon):
    return {agent["agent_id"]: agent for agent in json.loads(daemon.get("/agents"))["agents"]}


def wait(daemon, condition):
    """Polls the daemon, so the measured time includes a few milliseconds of polling."""
    daemon.wait(lambda: condition(agents(daemon)), pause=0.002)
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


def hang():
    with Daemon([agent("agent-0")]) as daemon:
        pid = all_running(daemon)["agent-0"]["pid"]
        time.sleep(5)
        os.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic()
        wait(daemon, lambda agents: agents["agent-0"]["state"] != "running")
        seen = time.monotonic() - stopped
    limit = MAX_AGE + INTERVAL
    what = f"SIGSTOP to the verdict, with `state_max_age: {MAX_AGE:.0f}s` and `interval: {INTERVAL:.0f}s`"
    return [Row(what, f"{seen:.1f} s", aim=f"≤ {limit:.0f} s", hit=seen <= limit)]


def adoption(count):
    with Daemon([agent(f"agent-{n}") for n in range(count)]) as daemon:
        before = {name: agent["pid"] for name, agent in all_running(daemon).items()}
        daemon.process.kill()
        daemon.process.wait()
        started = time.monotonic()
        daemon.launch()
        after = wait(daemon, lambda agents: all(agent["pid"] for agent in agents.values()))
        took = (time.monotonic() - started) * 1000
        same = sum(after[name]["pid"] == pid for name, pid in before.items())
        all_running(daemon)
    what = f"kill -9 of the daemon, restart, adoption of {count} agents"
    return [Row(what, f"{took:.0f} ms, {same} with the same pid", aim="≤ 2 s", hit=took <= 2000 and same == count)]
