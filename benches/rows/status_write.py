"""One write of the status file, beside the bare system calls that a durable replacement needs, on the same disk."""

import tempfile

import hotpaths
from report import Row, Spread, against, interleaved, rows_as_markdown
from subjects import installed

ROUNDS = 5
WRITES = 100


def measure(short):
    rounds, writes = (2, 20) if short else (ROUNDS, WRITES)
    program = hotpaths.built("release")
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        kinds = {
            name: lambda operation=operation: hotpaths.timed(program, operation, writes, directory)
            for name, operation in (("ours", "status_write"), ("bare", "bare_write"))
        }
        readings = interleaved(rounds, kinds)
        rows = [
            row("one status write: time", readings, 1, "≤ 1.1 × the bare calls"),
            row("the same: CPU", readings, 0, "≤ 1.1 × the bare calls"),
        ]
        if installed("strace"):
            rows.append(calls(program, directory))
    return f"### One status write\n\n{rows_as_markdown(rows)}"


def row(what, readings, which, aim):
    ours, bare = (Spread([reading[which] for reading in readings[name]]) for name in ("ours", "bare"))
    limit = "encoding the record, and handing the write to a thread, so that a disk that hangs cannot hang the loop"
    return Row(
        what,
        ours.show("ms", 3),
        f"bare write, fsync, rename, fsync {bare.show('ms', 3)}",
        **against(ours, {"bare": bare}, 1.1, aim),
        limit=limit,
    )


def calls(program, directory):
    ours, bare = (
        hotpaths.system_calls(program, operation, 20, directory) for operation in ("status_write", "bare_write")
    )
    return Row("the same: system calls", f"{ours:.1f}", f"bare {bare:.1f}")
