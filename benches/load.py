"""Load: requests without a pause, and connections that say nothing."""

import re
import socket
import subprocess
from typing import NamedTuple

from measure import cpu
from subjects import SEARCHED


class Hit(NamedTuple):
    """What a while of requests came to."""

    # A second.
    rate: float
    # Milliseconds of the server's CPU per 1,000.
    cost: float
    # Milliseconds within which 99 of 100 were answered.
    p99: float


def hit(subject, connections, seconds, path=None):
    """`connections` clients that each ask again as soon as they are answered."""
    url = f"http://127.0.0.1:{subject.port}{path or subject.path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    before = cpu(subject.pid)
    report = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": SEARCHED}).stdout
    used = cpu(subject.pid) - before
    if "Non-2xx" in report or "Socket errors" in report:
        raise SystemExit(f"{subject.name}: {report}")
    requests = int(re.search(r"(\d+) requests in", report).group(1))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", report).group(1))
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", report).groups()
    return Hit(rate, used * 1e6 / requests, float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit])


def crowd(subject, count):
    """So many connections that have had one answer each and are kept."""
    request = f"GET {subject.path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    streams = []
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", subject.port), timeout=10)
        stream.sendall(request)
        if not stream.recv(65536).startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{subject.name} does not answer everybody")
        streams.append(stream)
    return streams
