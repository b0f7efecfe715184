"""The cost without requests: size, memory, threads, descriptors, wake-ups, CPU."""

import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import NamedTuple

from measure import cpu, descriptors, memory, switches, threads, total_switches
from peers import ALL, present
from report import Row, Spread, cell, compare, rows_as_markdown, table
from subjects import BIN, ROOT, Agent, Sink, installed
from wakeups import Recording

# Not a multiple of the refresh interval, so that the window begins and ends between two refreshes.
SETTLE = 35
WINDOW = 60
COPIES = 3
# The interval of requests to programs that send no heartbeat.
PROBE_INTERVAL = 30
# The interval of samples of threads and descriptors. It is shorter than the life of a writing thread.
SAMPLE_INTERVAL = 0.2


def measure(short):
    settle, window, copies = (5, 20, 2) if short else (SETTLE, WINDOW, COPIES)
    sink = Sink()
    kinds = {"agent": lambda: reporting(sink), **{kind.name: kind for kind in present(ALL)}}
    with ExitStack() as stage:
        begin = lambda kind: stage.enter_context(kind())
        alone = {name: begin(kind) for name, kind in kinds.items()}
        time.sleep(settle)
        # Several copies share pages, so PSS is measured with a single copy.
        pss = {name: memory(subject.pid).pss for name, subject in alone.items()}
        for subject in alone.values():
            subject.stop()
        paired = [begin(kinds["agent"]) for _ in range(copies)]
        copied = {name: [begin(kind) for _ in range(copies)] for name, kind in kinds.items()}
        watched = begin(kinds["agent"])
        time.sleep(settle)
        sizes = {name: [memory(subject.pid) for subject in subjects] for name, subjects in copied.items()}
        before = [ended_threads(agent) for agent in paired]
        recording = Recording(watched.pid, watched.directory) if installed("perf") else None
        seen = watch(copied, window)
        recorded = recording and recording.close()
        in_window = [ended_threads(agent) - at_first for agent, at_first in zip(copied["agent"], before)]
    total = Spread([one.switches + more for one, more in zip(seen["agent"], in_window)])
    rows = binaries() + at_rest(sizes, pss, seen) + wakefulness(seen, total, window)
    return f"### At rest\n\n{rows_as_markdown(rows)}\n{wakeup_reasons(recorded, total, window)}"


def reporting(sink):
    """An agent with a daemon, a heartbeat every 30 s and a refresh every 10 s."""
    return Agent(f"heartbeat: {{ url: '{sink.url}', interval: 30s }}\nstate: {{ refresh: 10s }}\n")


def binaries():
    programs = {"with TLS": (BIN / "agent", 3.5), "without TLS": (ROOT / "target/no-tls/release/agent", 2.5)}
    rows = []
    for how, (path, most) in programs.items():
        size = path.stat().st_size / 1e6 if path.exists() else None
        rows.append(
            Row(
                f"binary, stripped, {how}",
                "not built" if size is None else f"{size:.2f} MB",
                "Go agent 13 MB (not measured here)",
                aim=f"≤ {most} MB",
                hit=None if size is None else size <= most,
                limit="tide, surf, rustls, the standard library's backtraces: see Size",
            )
        )
    return rows


class Seen(NamedTuple):
    """What one copy did in the window."""

    # Context switches of the threads that exist at the end.
    switches: int
    # CPU time in milliseconds.
    cpu: float
    # The number of samples for each count.
    threads: Counter
    descriptors: Counter


def watch(copied, window):
    """Observes all copies in the window."""
    subjects = [(name, subject) for name, subjects in copied.items() for subject in subjects]
    read = lambda: [(switches(subject.pid), cpu(subject.pid)) for _, subject in subjects]
    samples = [(Counter(), Counter()) for _ in subjects]
    over = threading.Event()
    probing = threading.Thread(target=probe, args=([subject for _, subject in subjects], over))
    end, before = time.monotonic() + window, read()
    probing.start()
    try:
        while time.monotonic() < end:
            for (_, subject), (some_threads, some_descriptors) in zip(subjects, samples):
                some_threads[threads(subject.pid)] += 1
                some_descriptors[descriptors(subject.pid)] += 1
            time.sleep(SAMPLE_INTERVAL)
        after = read()
    finally:
        over.set()
        probing.join()
    if not all(subject.is_healthy() for subject in copied["agent"]):
        sys.exit(f"an agent is not healthy: {copied['agent'][0].output()[-2000:]}")
    seen = {name: [] for name in copied}
    for (name, _), (old, used), (new, used_by_now), found in zip(subjects, before, after, samples):
        woken = sum(count - old.get(tid, 0) for tid, count in new.items())
        seen[name].append(Seen(woken, (used_by_now - used) * 1e3, *found))
    return seen


def probe(subjects, over):
    while not over.is_set():
        for subject in subjects:
            subject.probe()
        over.wait(PROBE_INTERVAL)


def ended_threads(agent):
    """Stops the agent, and returns the context switches of its ended threads and of the stop. Two agents start together; one
    stops at the start of the window and one at its end. Their difference is the value of the window."""
    living = sum(switches(agent.pid).values())
    agent.stop()
    return total_switches(agent.usage) - living


def at_rest(sizes, pss, seen):
    rss = {name: Spread([size.rss for size in some]) for name, some in sizes.items()}
    written = Spread([size.written for size in sizes["agent"]])
    shared = {name: Spread([value]) for name, value in pss.items()}
    ours = rss.pop("agent"), shared.pop("agent")
    exporter = lambda spreads: {name: spread for name, spread in spreads.items() if name == "node_exporter"}
    usual = lambda field: {name: usually(getattr(one, field) for one in some) for name, some in seen.items()}
    threads, descriptors = usual("threads"), usual("descriptors")
    return [
        Row(
            "RSS at rest in Running",
            f"{ours[0].show('MB')}, {written.show('')} of it written",
            cell(rss, "MB"),
            **compare(ours[0], exporter(rss), 0.25, "≤ 1/4 of node_exporter"),
            limit="most of it is the program and libc, mapped from their files",
        ),
        Row(
            "PSS of a single copy",
            ours[1].show("MB"),
            cell(shared, "MB"),
            **compare(ours[1], exporter(shared), 1, "") | {"aim": "≤ 2.5 MB", "hit": ours[1].median <= 2.5},
            limit="the program itself: a single copy shares its pages with no other",
        ),
        Row(
            f"threads, sampled every {SAMPLE_INTERVAL} s",
            f"{describe(threads['agent'])}: one starts for each write and ends half a second later",
            others(threads),
            aim="2",
            hit=threads["agent"][0] <= 2,
        ),
        Row("descriptors, the same", describe(descriptors["agent"]), others(descriptors)),
    ]


def usually(counts):
    """The usual count, the highest, and the percentage of samples above the usual one."""
    total = sum(counts, Counter())
    usual = total.most_common(1)[0][0]
    more = sum(times for number, times in total.items() if number > usual)
    return usual, max(total), 100 * more / total.total()


def describe(number):
    usual, most, more = number
    return f"{usual}" if usual == most else f"{usual} (up to {most} in {more:.1f} % of the samples)"


def others(numbers):
    return "; ".join(f"{name} {describe(number)}" for name, number in numbers.items() if name != "agent") or "none is installed"


def wakefulness(seen, total, window):
    staying = Spread([one.switches for one in seen["agent"]])
    woken = {name: Spread([one.switches for one in some]) for name, some in seen.items() if name != "agent"}
    used = {name: Spread([one.cpu for one in some]) for name, some in seen.items()}
    ours = used.pop("agent")
    comparable = {kind.name for kind in ALL if kind.is_comparable}
    lasted, aim = f"{window} s", "≤ 1/8 of the best comparable peer"

    def against_comparable(ours, others):
        return compare(ours, {name: spread for name, spread in others.items() if name in comparable}, 1 / 8, aim)

    return [
        Row(
            f"context switches in {lasted}, including threads that have ended",
            f"{total.show('', 0)}, {staying.show('', 0)} of them in the two permanent threads",
            cell(woken, "", 0),
            **against_comparable(total, woken),
            limit="most are waits for the disk, which the peers do not have: see the reasons for wake-ups",
        ),
        Row(
            f"CPU in the same {lasted}",
            ours.show("ms"),
            cell(used, "ms"),
            **against_comparable(ours, used),
            limit="two fsyncs at each refresh, on a thread that starts for them",
        ),
    ]


def wakeup_reasons(recorded, total, window):
    """The reason for every switch of one more agent in the window, and a check that none is missing."""
    if not recorded:
        return "Reasons for wake-ups: perf is not installed, or has no permission.\n"
    counts, staying, counted = recorded
    rows = [[thread, what, str(count)] for (thread, what), count in counts.most_common()]
    rows.append(["total", "", str(counts.total())])
    return (
        f"Reasons for wake-ups: every context switch of one more such agent in {window} s, by the kernel's stack.\n\n"
        f"{table(['thread', 'waited for', 'times'], rows)}\n"
        f"The two permanent threads have {staying} of them; the kernel counted {counted}. The agents without a tracer had "
        f"{total.show('', 0)} in total. The difference is how often the disk makes a thread wait within one call, and how often "
        "a thread is preempted.\n"
    )
