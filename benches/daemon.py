#!/usr/bin/env python3
"""Measures what the daemon promises in numbers, with real processes. Prints a Markdown table.

Needs a release build. Heartbeats per second have a measurement of their own: `cargo bench --bench heartbeats`.
Times are seen from outside, by asking the daemon again and again, so they include a few milliseconds of asking.
"""

import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / "target/release"
MANY = int(os.environ.get("BENCH_MANY", "1000"))
ADOPTED = int(os.environ.get("BENCH_ADOPTED", "50"))
DEATHS = 10
MAX_AGE = 6.0
INTERVAL = 2.0


def main():
    if not (BIN / "daemon").exists():
        sys.exit("no release build: run `make build` first")
    rows = memory_with_few() + memory_with_many() + deaths() + hang() + adoption()
    print("| what | measured | bound |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


class Daemon:
    """A daemon in a directory of its own, with these agents."""

    def __init__(self, agents):
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name)
        self.port = free_port()
        lines = [f"daemon: {{ work_dir: state, http: {{ port: {self.port} }} }}", "agents:"]
        for agent in agents:
            lines += [f"  - {line}" if n == 0 else f"    {line}" for n, line in enumerate(agent(self))]
        (self.path / "daemon.yaml").write_text("\n".join(lines) + "\n")
        self.start()

    def start(self):
        self.log = open(self.path / "log", "ab")
        command = [BIN / "daemon", "run", "--config", "daemon.yaml"]
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, cwd=self.path, stdout=self.log, stderr=self.log)

    def agents(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/agents", timeout=30) as answer:
                return {agent["agent_id"]: agent for agent in json.load(answer)["agents"]}
        except OSError:
            if self.process.poll() is not None:
                sys.exit(f"the daemon ended: {(self.path / 'log').read_text()[-2000:]}")
            return {}

    def wait(self, is_so, limit=120):
        until = time.monotonic() + limit
        while time.monotonic() < until:
            agents = self.agents()
            if agents and is_so(agents):
                return agents
            time.sleep(0.002)
        sys.exit(f"it never came: {json.dumps(self.agents())[:2000]}")

    def all_running(self):
        return self.wait(lambda agents: all(agent["state"] == "running" for agent in agents.values()))

    def rss(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=120)
        self.log.close()
        self.directory.cleanup()


def agent(name):
    """This project's agent, which beats over the socket and is judged by its status file."""

    def lines(daemon):
        (daemon.path / f"{name}.yaml").write_text(
            f"agent_id: {name}\nhttp: {{ port: 0 }}\n"
            f"heartbeat: {{ url: 'unix://{daemon.path}/state/daemon.sock', interval: 1s }}\n"
            f"state: {{ file: '{daemon.path}/{name}.ron', refresh: 2s }}\n"
        )
        return [
            f"id: {name}",
            f"binary_path: {BIN}/agent",
            f"config_file: {daemon.path}/{name}.yaml",
            f"health_check: {{ interval: {INTERVAL:.0f}s, state_file: '{daemon.path}/{name}.ron', "
            f"state_max_age: {MAX_AGE:.0f}s, heartbeat_timeout: 90s }}",
        ]

    return lines


def sleeper(name):
    """A process that does nothing, looked at by its presence alone."""
    health = "{ heartbeat_timeout: 0, cpu_threshold: 0, memory_threshold: 0 }"
    return lambda _: [f"id: {name}", "binary_path: /bin/sleep", "args: ['1000000']", f"health_check: {health}"]


def memory_with_few():
    daemon = Daemon([agent(f"agent-{n}") for n in range(3)])
    daemon.all_running()
    time.sleep(5)
    rss = daemon.rss()
    daemon.stop()
    return [("daemon RSS with 3 agents", f"{rss / 1e6:.1f} MB", "–")]


def memory_with_many():
    daemon = Daemon([sleeper(f"sleeper-{n}") for n in range(MANY)])
    daemon.all_running()
    time.sleep(5)
    rss = daemon.rss()
    before = daemon.cpu_seconds()
    time.sleep(20)
    used = (daemon.cpu_seconds() - before) / 20
    daemon.stop()
    return [
        (f"daemon RSS with {MANY:,} agents", f"{rss / 1e6:.1f} MB", "–"),
        (f"daemon CPU idle with {MANY:,} agents", f"{used * 100:.2f} % of one core", "–"),
    ]


def deaths():
    times = []
    for _ in range(DEATHS):
        daemon = Daemon([agent("agent-0")])
        pid = daemon.all_running()["agent-0"]["pid"]
        os.kill(pid, signal.SIGKILL)
        died = time.monotonic()
        daemon.wait(lambda agents: agents["agent-0"]["pid"] not in (None, pid))
        times.append((time.monotonic() - died) * 1000)
        daemon.stop()
    spread = f"{statistics.median(times):.0f} ms ({min(times):.0f} to {max(times):.0f})"
    return [(f"death to the new process, median of {DEATHS}", spread, "at once")]


def hang():
    daemon = Daemon([agent("agent-0")])
    pid = daemon.all_running()["agent-0"]["pid"]
    time.sleep(5)
    os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    daemon.wait(lambda agents: agents["agent-0"]["state"] != "running")
    seen = time.monotonic() - stopped
    daemon.stop()
    return [("SIGSTOP to the verdict", f"{seen:.1f} s", f"≤ {MAX_AGE + INTERVAL:.0f} s: state_max_age and one interval")]


def adoption():
    daemon = Daemon([agent(f"agent-{n}") for n in range(ADOPTED)])
    before = {name: agent["pid"] for name, agent in daemon.all_running().items()}
    daemon.process.kill()
    daemon.process.wait()
    daemon.start()
    after = daemon.wait(lambda agents: all(agent["pid"] for agent in agents.values()))
    took = time.monotonic() - daemon.began
    same = sum(after[name]["pid"] == pid for name, pid in before.items())
    daemon.all_running()
    daemon.stop()
    return [(f"kill -9, restart, adoption of {ADOPTED} agents", f"{took * 1000:.0f} ms, {same} with the same pid", "≤ 2 s")]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
