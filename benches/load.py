"""Load: requests without a pause, and idle connections."""

import re
import socket
import subprocess
from typing import NamedTuple

from measure import cpu
from subjects import SEARCH_PATH


class Load(NamedTuple):
    """The result of a load test."""

    # Requests per second.
    rate: float
    # Milliseconds of the server's CPU per 1,000 requests.
    cost: float
    # The 99th percentile of the response time, in milliseconds.
    p99: float


def load(subject, connections, seconds, path=None):
    """Sends requests on this number of connections, each without a pause between its requests."""
    url = f"http://127.0.0.1:{subject.port}{path or subject.path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    before = cpu(subject.pid)
    report = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": SEARCH_PATH}).stdout
    used = cpu(subject.pid) - before
    if "Non-2xx" in report or "Socket errors" in report:
        raise SystemExit(f"{subject.name}: {report}")
    requests = int(re.search(r"(\d+) requests in", report).group(1))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", report).group(1))
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", report).groups()
    return Load(rate, used * 1e6 / requests, float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit])


def open_connections(subject, count):
    """Opens this number of connections. Each gets one answer and stays open."""
    request = f"GET {subject.path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    streams = []
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", subject.port), timeout=10)
        stream.sendall(request)
        if not stream.recv(65536).startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{subject.name} does not answer on all connections")
        streams.append(stream)
    return streams
