"""For how much CPU time one turn of the daemon's loop keeps everything else waiting: a histogram in its metrics."""

import re
from typing import NamedTuple

BUCKET = re.compile(rb'^ops_daemon_loop_turn_cpu_seconds_bucket\{le="([^"]+)"\} (\d+)$', re.M)


class Turns(NamedTuple):
    """The turns in a time window."""

    count: int
    # The longest one took at most these milliseconds.
    longest: float

    def show(self):
        return f"≤ {self.longest:g} ms; {self.count:,} turns"


def so_far(daemon):
    """The number of turns since the start that took at most so many seconds."""
    return {float(bound): int(count) for bound, count in BUCKET.findall(daemon.get("/metrics"))}


def between(before, after):
    more = {bound: count - before[bound] for bound, count in after.items()}
    count = max(more.values())
    return Turns(count, min(bound for bound, within in more.items() if within == count) * 1e3)
