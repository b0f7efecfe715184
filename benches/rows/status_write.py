"""One write of the status file, beside the bare system calls that a durable replacement needs, on the same disk."""

import tempfile

import hotpaths
from report import Row, Spread, against, interleaved, rows_as_markdown
from subjects import installed

ROUNDS = 5
# How it is done, the operations, and how often: what is rare has a pause of more than half a second before each.
WAYS = {
    "with its thread started for it, as at each refresh": (("status_write_apart", "bare_write_apart"), 10),
    "on a thread that is there": (("status_write", "bare_write"), 100),
}
AIM = "≤ 1.1 × the bare calls"
HANDED_OVER = "encoding the record, and handing the write to a thread, so that a disk that hangs cannot hang the loop"


def measure(short):
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for how, (operations, writes) in WAYS.items():
            rounds, writes = (2, writes // 5) if short else (ROUNDS, writes)
            kinds = {
                operation: lambda operation=operation: hotpaths.timed(hotpaths.SHIPPED, operation, writes, directory)
                for operation in operations
            }
            readings = interleaved(rounds, kinds)
            rows.append(row(f"one status write, {how}: time", [[took for _, took in readings[name]] for name in operations]))
            rows.append(row("the same: CPU", [[used for used, _ in readings[name]] for name in operations]))
            if installed("strace"):
                rows.append(calls(operations, writes, directory))
    return f"### One status write\n\n{rows_as_markdown(rows)}"


def row(what, readings):
    ours, bare = map(Spread, readings)
    beside = f"bare write, fsync, rename, fsync {bare.show('ms', 3)}"
    return Row(what, ours.show("ms", 3), beside, **against(ours, {"bare": bare}, 1.1, AIM), limit=HANDED_OVER)


def calls(operations, writes, directory):
    count = lambda name: hotpaths.each(hotpaths.system_calls, hotpaths.SHIPPED, name, writes, directory)
    ours, bare = (Spread([count(name)]) for name in operations)
    compared = against(ours, {"bare": bare}, 1.1, AIM)
    limit = "a look at the lock, and what the two threads tell each other; where one is started, its start and its end"
    return Row("the same: system calls", ours.show(""), f"bare {bare.show('')}", **compared, limit=limit)
