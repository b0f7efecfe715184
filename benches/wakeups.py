"""Which thread of a process wakes for what, from a trace of its system calls."""

import re
from collections import Counter

# A line of `strace -f -ttt -T`: thread, time, and a call that is whole, has just begun or has just come back.
LINE = re.compile(r"^(?P<tid>\d+)\s+(?P<at>[\d.]+) (?P<rest>.*)$")
RESUMED = re.compile(r"^<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)$")
CALL = re.compile(r"^(?P<call>\w+)\((?P<rest>.*)$")
TOOK = re.compile(r"<(?P<seconds>[\d.]+)>$")
NAMED = re.compile(r'prctl\(PR_SET_NAME, "(?P<name>[^"]+)"')

# A call that took longer has waited; shorter ones are the tracer's own overhead.
WAITED = 0.0003
WAITING = {
    "futex": "another thread",
    "epoll_pwait": "a timer or a peer",
    "epoll_wait": "a timer or a peer",
    "fsync": "the disk",
    "renameat": "the disk",
    "openat": "the disk",
    "write": "the disk",
}


def wake_ups(trace, main, since):
    """Counts returns from a call that has waited, by (thread, what for), from the time `since` on."""
    names = {main: "the loop"}
    counts = Counter()
    for line in trace.splitlines():
        parts = LINE.match(line)
        if not parts:
            continue
        tid, rest = int(parts["tid"]), parts["rest"]
        if named := NAMED.match(rest):
            names[tid] = thread(named["name"])
            if float(parts["at"]) >= since:
                counts[names[tid], "its start"] += 1
        back = RESUMED.match(rest) or CALL.match(rest)
        took = TOOK.search(rest)
        if not back or not took or float(parts["at"]) < since or float(took["seconds"]) < WAITED:
            continue
        if waited_for := WAITING.get(back["call"]):
            if "ETIMEDOUT" in rest:
                waited_for = "nothing any more: a time of waiting is over"
            counts[names.get(tid, "another thread"), waited_for] += 1
    return counts


def thread(name):
    """A thread's role by its name."""
    if name.startswith("blocking"):
        return "the thread that comes for a write"
    return "the reactor's helper" if name == "async-io" else name
