"""The time from exec to the first answer, and from SIGTERM to the exit."""

from peers import Nginx, NodeExporter, present
from report import Row, Spread, cell, compare, interleaved, rows_as_markdown
from subjects import MEMORY, Agent, Sink

ROUNDS = 20


def measure(short):
    rounds = 4 if short else ROUNDS
    sink = Sink()
    rows = lives(rounds, sink, None, "")
    if MEMORY:
        # In memory an fsync takes no time, so these rows show the program's own time.
        rows += lives(rounds, sink, MEMORY, ", all files in memory")
    return f"### Start and stop\n\n{rows_as_markdown(rows)}"


def lives(rounds, sink, directory, where):
    # The daemon answers the first heartbeat and the last one.
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
            cell(starts, "ms"),
            **compare(start, nginx, 1.0, "≤ nginx"),
            limit="five fsyncs, because a state is on disk before it is shown" if not where else "",
        ),
        Row(
            f"SIGTERM → exit, with a daemon that answers{where}",
            stop.show("ms"),
            cell(stops, "ms"),
            aim="≤ 10 ms",
            hit=stop.median <= 10,
            limit="four fsyncs, because a state is on disk before it is shown" if not where else "",
        ),
    ]


def life(kind):
    """Milliseconds to the first answer, and from the signal to the exit."""
    with kind() as subject:
        subject.settle()
        return subject.ready_after * 1e3, subject.stop() * 1e3
