"""Trials of how long a supervisor takes to notice what has happened to one of many processes, by the times in its log."""

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
from datetime import datetime

from fleet import sleeper
from peers import Supervisord
from report import Spread
from subjects import Daemon

# Seconds from one trial to the next. The number of milliseconds is prime, so that the trials meet every phase of the checks.
HOLD = 0.307
# How often `asked` in `fleet.py` lets the daemon ask.
HTTP_INTERVAL = 1.0
# All trials are noticed so many seconds after the last one, or the section fails.
LIMIT = 60


def noticed(kind, trials, hurt, shows, directory):
    """The milliseconds from each trial to the line in the daemon's log that shows it.

    Each agent is hurt once. As many others stay well and two more, so that it is never a mass failure.
    """
    names = [f"agent-{n}" for n in range(trials)]
    others = [sleeper(f"well-{n}") for n in range(trials + 2)]
    with Daemon([*map(kind, names), *others], directory) as daemon:
        shown = lambda: json.loads(daemon.get("/agents"))["agents"]
        daemon.wait(lambda: all(agent["state"] == "running" for agent in shown()), pause=0.2)
        daemon.pids = {agent["agent_id"]: agent["pid"] for agent in shown()}
        # The first checks have ended.
        time.sleep(5)
        hurt_at = in_turn(names, lambda name: hurt(daemon, name))
        seen = lambda: first_lines(daemon, hurt_at, shows)
        daemon.wait(lambda: len(seen()) == trials, pause=0.2, limit=LIMIT)
        return delays(hurt_at, seen())


def in_turn(names, hurt):
    """Hurts one after the other. Returns when."""
    begun, hurt_at = time.monotonic(), {}
    for number, name in enumerate(names):
        time.sleep(max(begun + number * HOLD - time.monotonic(), 0))
        hurt_at[name] = time.time()
        hurt(name)
    return hurt_at


def first_lines(daemon, hurt_at, shows):
    """The time of the first line about each agent that shows what has happened to it."""
    found = {}
    for text in daemon.output().splitlines():
        line = json.loads(text) if text.startswith("{") and text.endswith("}") else {}
        name = line.get("agent_id")
        if name in hurt_at and shows(line):
            found.setdefault(name, datetime.fromisoformat(line["timestamp"]).timestamp())
    return found


def delays(hurt_at, seen):
    # The times in a log are whole milliseconds, rounded down.
    return Spread([max((seen[name] - at) * 1e3, 0) for name, at in hurt_at.items()])


def noticed_by_supervisord(trials, directory):
    """The same for SIGKILL and supervisord, whose log has local times."""
    with Supervisord(trials, directory) as peer:
        log = lambda pattern: re.findall(pattern, (peer.directory / "log").read_text(), re.M)
        started = lambda: {name: int(pid) for name, pid in log(r"spawned: '(\w+)' with pid (\d+)")}
        peer.wait(lambda: len(started()) == trials, pause=0.2)
        pids = started()
        hurt_at = in_turn(pids, lambda name: os.kill(pids[name], signal.SIGKILL))
        ended = lambda: {name: at for at, name in log(r"^([-\d]+ [:,\d]+) \w+ exited: (\w+) ")}
        peer.wait(lambda: len(ended()) == trials, pause=0.2, limit=LIMIT)
        at = {name: datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").timestamp() for name, text in ended().items()}
        return delays(hurt_at, at)


class Endpoint:
    """Answers 200 to each path until it breaks, and 500 from then on. One connection for each request."""

    def __init__(self):
        self.broken = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def breaks(self, name):
        self.broken.add(name)

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self.listener.accept()
                with stream, contextlib.suppress(OSError):
                    stream.settimeout(5)
                    name = stream.recv(65536).split(b" ", 2)[1].decode().lstrip("/")
                    status = "500 Internal Server Error" if name in self.broken else "200 OK"
                    stream.sendall(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A call that waits for a connection ends with an error.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
