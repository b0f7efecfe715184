"""From exec to the first answer, and from SIGTERM to the end."""

import os

from peers import Nginx, NodeExporter, present
from report import Row, Spread, against, beside, interleaved, rows_as_markdown
from subjects import Agent, Sink

ROUNDS = 20
MEMORY = "/dev/shm"


def measure(short):
    rounds = 4 if short else ROUNDS
    sink = Sink()
    rows = lives(rounds, sink, None, "")
    if os.access(MEMORY, os.W_OK):
        # How long an fsync takes is the disk's affair. In memory, what is left is the program's.
        rows += lives(rounds, sink, MEMORY, ", everything that is written in memory")
    return f"### Start and stop\n\n{rows_as_markdown(rows)}"


def lives(rounds, sink, directory, where):
    # Its first heartbeat was acknowledged, and the daemon is there for the last one.
    reporting = lambda: Agent(f"heartbeat: {{ url: '{sink.url}' }}\n", directory)
    kinds = {"agent": lambda: life(reporting)}
    for kind in present([Nginx, NodeExporter]):
        kinds[kind.name] = lambda kind=kind: life(lambda: kind(directory=directory))
    readings = interleaved(rounds, kinds)
    starts, stops = ({name: Spread([life[n] for life in lives]) for name, lives in readings.items()} for n in (0, 1))
    start, stop = starts.pop("agent"), stops.pop("agent")
    nginx = {name: spread for name, spread in starts.items() if name == "nginx"}
    return [
        Row(
            f"exec → first 200{where}",
            start.show("ms"),
            beside(starts, "ms"),
            **against(start, nginx, 1.0, "≤ nginx"),
            limit="five fsyncs that nothing may be shown before" if not where else "",
        ),
        Row(
            f"SIGTERM → exit, with a daemon that answers{where}",
            stop.show("ms"),
            beside(stops, "ms"),
            aim="≤ 10 ms",
            hit=stop.median <= 10,
            limit="four fsyncs: nothing is said before it is on disk" if not where else "",
        ),
    ]


def life(kind):
    """Milliseconds to the first answer, and from the signal to the end."""
    with kind() as subject:
        subject.settle()
        return subject.ready_after * 1e3, subject.stop() * 1e3
