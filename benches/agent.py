#!/usr/bin/env python3
"""Measures what the agent promises in numbers, beside nginx in the same run. Prints a Markdown table.

Needs a release build, and wrk and nginx for the comparison; without them, those rows say so.
Absolute times depend on the machine and on what else runs there: compare within one run only.
"""

import os
import re
import resource
import shutil
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
AGENT = ROOT / "target/release/agent"
IDLE_SECONDS = int(os.environ.get("BENCH_IDLE_SECONDS", "30"))
LOAD_SECONDS = int(os.environ.get("BENCH_LOAD_SECONDS", "8"))
STARTS = 20
ROUNDS = 3


def main():
    if not AGENT.exists():
        sys.exit("no release build: run `make build` first")
    rows = [("binary, stripped", f"{AGENT.stat().st_size / 1e6:.2f} MB", "≤ 4 MB")]
    with tempfile.TemporaryDirectory() as scratch:
        rows += idle(Path(scratch))
        rows += starts(Path(scratch))
        rows += load(Path(scratch))
    print("| what | measured | promised |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


class Agent:
    """A standalone agent with its defaults, on a free port."""

    def __init__(self, scratch):
        scratch.mkdir(exist_ok=True)
        self.port = free_port()
        env = {"AGENT_HTTP_PORT": str(self.port), "AGENT_STATE_FILE": str(scratch / "agent.ron")}
        self.log = open(scratch / "log", "wb")
        self.began = time.monotonic()
        command = [AGENT, "run", "--config", ROOT / "configs/agent.yaml"]
        self.process = subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log)
        self.ready_after = self.wait_for_health()

    def wait_for_health(self):
        request = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        while True:
            if self.process.poll() is not None:
                sys.exit(f"the agent ended: {Path(self.log.name).read_text()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port)) as peer:
                    peer.sendall(request)
                    if peer.recv(12) == b"HTTP/1.1 200":
                        return time.monotonic() - self.began
            except OSError:
                pass
            time.sleep(0.0002)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=15)
        self.log.close()
        if code != 0:
            sys.exit(f"the agent ended with {code}")


def idle(scratch):
    agent = Agent(scratch)
    pid = agent.process.pid
    # Between two refreshes: at one, a thread is there that writes.
    time.sleep(13)
    rss, pss = memory(pid)
    threads = len(os.listdir(f"/proc/{pid}/task"))
    before = switches(pid)
    time.sleep(IDLE_SECONDS)
    after = switches(pid)
    agent.stop()
    return [
        ("RSS after 10 s idle in Running", f"{rss / 1024:.1f} MB", "≤ 5 MB"),
        ("PSS after 10 s idle in Running", f"{pss / 1024:.1f} MB", "–"),
        ("threads, idle", str(threads), "2"),
        (
            f"context switches, {IDLE_SECONDS} s idle",
            f"{after - before}, without the threads that come for a write",
            "≤ 15 in 30 s",
        ),
        ("the same, all threads, those that come for a write too", str(life(scratch, IDLE_SECONDS)), "≤ 15 in 30 s"),
    ]


def life(scratch, seconds):
    """Context switches of a whole process, in so many seconds more of idle life: the kernel's account outlives threads."""
    totals = []
    for extra in (0, seconds):
        agent = Agent(scratch)
        time.sleep(10 + extra)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        agent.stop()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        totals.append(after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw)
    return totals[1] - totals[0]


def starts(scratch):
    what = f"exec to the first 200 on /health, median of {STARTS}"
    rows = [(what, start(scratch), "≤ 5 ms")]
    # How long an fsync takes is the disk's affair. In memory, what is left is the agent's.
    if os.access("/dev/shm", os.W_OK):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            rows.append(("the same, state in memory", start(Path(memory)), "–"))
    return rows


def start(scratch):
    times = []
    for _ in range(STARTS):
        agent = Agent(scratch)
        times.append(agent.ready_after * 1000)
        agent.stop()
    return f"{statistics.median(times):.1f} ms ({min(times):.1f} to {max(times):.1f})"


def load(scratch):
    if not shutil.which("wrk") or not shutil.which("nginx"):
        return [("/health under load", "skipped: wrk and nginx are not both installed", "≤ 1.5 × nginx")]
    ours, theirs = [], []
    for _ in range(ROUNDS):
        agent = Agent(scratch)
        body = urllib.request.urlopen(f"http://127.0.0.1:{agent.port}/health").read().decode()
        ours.append(hit(agent.port, agent.process.pid))
        agent.stop()
        theirs.append(nginx(scratch, body))
    rate, cost = (statistics.median(values) for values in zip(*ours))
    nginx_rate, nginx_cost = (statistics.median(values) for values in zip(*theirs))
    ratio = f"{cost:.1f} ms = {cost / nginx_cost:.2f} × nginx ({nginx_cost:.1f} ms)"
    return [
        ("/health, 16 connections", f"{rate:,.0f} requests/s", f"nginx `return 200`: {nginx_rate:,.0f}"),
        ("server CPU per 1,000 requests", ratio, "≤ 1.5 × nginx"),
    ]


def nginx(scratch, body):
    """One nginx worker that answers with the same body as the agent, from memory."""
    port = free_port()
    config = scratch / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {scratch}/nginx.pid;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; default_type application/json;\n"
        f"  server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{body}'; }} }} }}\n"
    )
    server = subprocess.Popen(["nginx", "-c", config, "-e", "/dev/null", "-p", scratch], stderr=subprocess.DEVNULL)
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
            break
        except OSError:
            if server.poll() is not None:
                sys.exit("nginx does not start")
    result = hit(port, server.pid)
    server.terminate()
    server.wait()
    return result


def hit(port, pid):
    """Requests per second, and milliseconds of server CPU per 1,000 requests."""
    before = cpu_seconds(pid)
    command = ["wrk", "-t1", "-c16", f"-d{LOAD_SECONDS}s", f"http://127.0.0.1:{port}/health"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(pid) - before
    if "Non-2xx" in report:
        sys.exit(report)
    requests = int(re.search(r"(\d+) requests in", report).group(1))
    return float(re.search(r"Requests/sec:\s+([\d.]+)", report).group(1)), used * 1e6 / requests


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return tuple(int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1)) for name in ("Rss", "Pss"))


def switches(pid):
    """Context switches of the two threads that stay."""
    texts = [status.read_text() for status in Path(f"/proc/{pid}/task").glob("*/status")]
    texts = [text for text in texts if not text.startswith("Name:\tblocking-")]
    return sum(int(n) for text in texts for n in re.findall(r"ctxt_switches:\s+(\d+)", text))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
