"""One write of the status file, next to the bare system calls of a durable replacement on the same disk."""

import tempfile

import hotpaths
from report import Row, Spread, compare, interleaved, rows_as_markdown
from subjects import installed

ROUNDS = 5
# The case, the operations, and the number of writes. In the first case a pause of 0.6 s precedes each write.
CASES = {
    "on a new thread, as at each refresh": (("status_write_after_pause", "bare_write_after_pause"), 10),
    "on a waiting thread": (("status_write", "bare_write"), 100),
}
AIM = "≤ 1.1 × the bare calls"
HANDOVER = "encoding, and the handover to a thread, so that a hung disk cannot block the loop"


def measure(short):
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for case, (operations, writes) in CASES.items():
            rounds, writes = (2, writes // 5) if short else (ROUNDS, writes)
            kinds = {
                operation: lambda operation=operation: hotpaths.timed(hotpaths.SHIPPED, operation, writes, directory)
                for operation in operations
            }
            readings = interleaved(rounds, kinds)
            rows.append(row(f"one status write {case}: time", [[took for _, took in readings[name]] for name in operations]))
            rows.append(row("the same: CPU", [[used for used, _ in readings[name]] for name in operations]))
            if installed("strace"):
                rows.append(calls(operations, writes, directory))
    return f"### One status write\n\n{rows_as_markdown(rows)}"


def row(what, readings):
    ours, bare = map(Spread, readings)
    others = f"bare write, fsync, rename, fsync {bare.show('ms', 3)}"
    return Row(what, ours.show("ms", 3), others, **compare(ours, {"bare": bare}, 1.1, AIM), limit=HANDOVER)


def calls(operations, writes, directory):
    count = lambda name: hotpaths.each(hotpaths.system_calls, hotpaths.SHIPPED, name, writes, directory)
    ours, bare = (Spread([count(name)]) for name in operations)
    compared = compare(ours, {"bare": bare}, 1.1, AIM)
    limit = "the lock check and the messages between the two threads; for a new thread, its start and end"
    return Row("the same: system calls", ours.show(""), f"bare {bare.show('')}", **compared, limit=limit)
